"""Scores of masks against reference masks: overlap, surface distances in mm, volumes, and their means.

``overlap`` and ``surface`` hold the definitions, ``policy`` what happens where a definition has no value,
``pairing`` finds the files that belong together, ``evaluate`` goes from arrays, files or folders to
``Scores``, ``output`` writes them, ``statistics`` puts intervals around means.
"""
