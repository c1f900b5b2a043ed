"""``python -m awclient.awe``: the prompt."""

from awclient.awe.prompt import main

main()
