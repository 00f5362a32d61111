"""The command line. ``main`` is the console script; commands import what they need when they run.

Exit codes: 0 done, 1 a defect of mechbench (with its traceback), 2 something the user can mend
(one paragraph on stderr), 130 interrupted (with the command that goes on).
"""

import sys

from mechbench.errors import MechbenchError


def main() -> None:
    """Run the command line on ``sys.argv`` and exit."""
    from mechbench.cli.app import app
    from mechbench.cli.console import print_error

    try:
        app(prog_name="mechbench")
    except MechbenchError as error:
        print_error(str(error))
        sys.exit(2)
