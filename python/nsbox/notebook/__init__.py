"""nsbox in a notebook: ``%load_ext nsbox``.

    magics.py    the magics; loading and unloading of the extension
    options.py   the options of the cell magics
    sessions.py  the shells and boxes into which cells are typed
    cells.py     one cell in a shell: its output, interrupt, timeout and exit status
    tables.py    the output of %pstree, %lsns and %ps
    report.py    errors as short panels

Nothing here is imported before the extension is loaded.
"""
