"""A pod's program that does what files tell it: `actor.py STAGE`.

It makes STAGE/<pod>.<n> for its n-th start and obeys what is put there, in order of names: `*.say` is
written to stdout, `*.exit` leaves `words` at the termination path and exits.
"""

import json
import os
import sys
import time
from pathlib import Path

stage = Path(sys.argv[1])
job = os.environ["PADDLE_JOB_ID"]
paths = json.loads(os.environ["FTL_PATH_MAP"])
words = Path(paths["/dev/termination-log"])
pod = words.parent.name
number = len(list(stage.glob(f"{pod}.*")))
inbox = stage / f"{pod}.{number}"
partial = stage / f"tmp-{pod}-{number}"
partial.mkdir()
(partial / "pid").write_text(str(os.getpid()))
(partial / "env").write_text(json.dumps(dict(os.environ)))
partial.rename(inbox)
while True:
    for order in sorted(inbox.glob("*.say")) + sorted(inbox.glob("*.exit")):
        data = order.read_bytes()
        if order.suffix == ".exit":
            left = (inbox / "words").read_bytes()
            if left:
                words.write_bytes(left)
            sys.exit(int(data))
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        order.unlink()
    if not stage.exists():
        sys.exit(0)
    time.sleep(0.005)
