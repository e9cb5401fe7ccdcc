"""Terminal sessions written down in handouts, run again and compared: ``nsbox check FILE``.

    forms.py      a file to steps: Markdown, AsciiDoc, plain text, cram's .t
    match.py      what came out against what is written: masks, ellipses, diffs
    session.py    the shell that the steps are typed into
    update.py     the file with what came out now

>>> for result in check("handout.md").results:
...     print(result)
"""

from nsbox.transcript.forms import Step, Transcript, read
from nsbox.transcript.match import MASKS
from nsbox.transcript.session import Checked, Session, StepResult, check
from nsbox.transcript.update import updated

__all__ = ["MASKS", "Checked", "Session", "Step", "StepResult", "Transcript", "check", "read", "updated"]
