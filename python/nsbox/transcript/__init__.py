"""Run the commands of a handout again and compare their output: ``nsbox check FILE``.

    forms.py      read a file into steps: Markdown, AsciiDoc, plain text, cram's .t
    match.py      compare the output with the expected lines: masks, ellipses, diffs
    session.py    the shell into which the commands are typed
    update.py     the text of the file with the new output

>>> for result in check("handout.md").results:
...     print(result)
"""

from nsbox.transcript.forms import Step, Transcript, read
from nsbox.transcript.match import MASKS
from nsbox.transcript.session import Checked, CheckedStep, Session, check
from nsbox.transcript.update import updated

__all__ = ["MASKS", "Checked", "CheckedStep", "Session", "Step", "Transcript", "check", "read", "updated"]
