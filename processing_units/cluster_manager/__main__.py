"""``python -m processing_units.cluster_manager`` does the same as ``awworker``."""

import sys

from processing_units.cluster_manager.main import main

sys.exit(main())
