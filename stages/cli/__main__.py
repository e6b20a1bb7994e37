"""`python -m stages.cli`, for launchers such as torchrun."""

from stages.cli import main

main()
