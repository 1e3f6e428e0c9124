"""Finding good settings: ``search.py`` has ``tune``, ``result.py`` what it finds.

``proposals.py`` says which setting is tried next, ``storage.py`` keeps finished trials, ``importance.py`` says what
mattered and ``picture.py`` draws it. What may be tried is declared by each model (``ancf.search_space``).
"""
