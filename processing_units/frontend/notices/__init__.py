"""What users are told when a run or a batch ends: by e-mail, by a webhook."""
