"""Pictures made by the server: previews, histograms, plots. No Django in here, and no trust in a file."""
