"""The `awe` prompt: ``dpu``, ``lpu``, ``context`` and queries as users of Astro-WISE know them, on this portal."""
