"""Training over workers, each with some of the users: the bits of training on one machine.

``pool.py`` says what a pool of workers is; ``worker.py`` is what each does, ``learner.py`` who tells them what when;
``ray_pool.py`` has workers on Ray, ``fitting.py`` what users call. ``docs/scale.md`` has the protocol with its sizes.
"""
