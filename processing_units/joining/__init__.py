"""How a machine joins a processing unit with nothing but a Python: the standard code by digest, and what installs it.

The standard library alone, and none of our other packages: `single_file` makes one file of it, which every frontend and
the portal serve at ``/awworker``.
"""
