"""nsbox in a notebook: ``%load_ext nsbox``.

    magics.py    the magics, and what happens when the extension is loaded and unloaded
    options.py   their options: those of the commands they are named after, and a few of their own
    sessions.py  the shells and boxes that cells are typed into
    cells.py     a cell in a shell: what it writes, while it runs; interrupts; how it ended
    looking.py   pstree, lsns and ps, as a cell shows them
    report.py    errors as short panels

Nothing here is imported before the extension is loaded, but `report`, when an error is shown.
"""
