"""``ancf serve``: a model behind HTTP, which counts what its users did a second ago.

``run`` starts it; everything else is found in the modules. Nothing of the extra is imported before it is used.
"""
