"""``python -m processing_units.joining`` is ``awworker``."""

import sys

from processing_units.joining.main import main

sys.exit(main())
