"""Starts one node process whose ranks are `standin.py`, or what FTL_TEST_RANK names.

driver.py PACE_JSON ARGUMENT…
"""

import json
import os
import sys
from pathlib import Path

from trainer.node.__main__ import main
from trainer.node.settings import Intervals

if __name__ == "__main__":
    standin = Path(__file__).with_name("standin.py")
    own = os.environ.get("FTL_TEST_RANK")
    command = (sys.executable, own) if own else (sys.executable, "-S", str(standin))
    sys.exit(
        main(sys.argv[2:], os.environ, rank_command=command, intervals=Intervals(**json.loads(sys.argv[1])))
    )
