"""``python -m processing_units.backend`` does the same as ``awbackend``."""

import sys

from processing_units.backend.main import main

sys.exit(main())
