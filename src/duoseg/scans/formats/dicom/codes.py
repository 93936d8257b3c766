"""Coded names of classes, which DICOM wants beside their label: of an organ where the name is one, else general."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

# Names by which pydicom's dictionary of SNOMED CT has a code of the same meaning.
_ORGANS = frozenset(
    (
        *("adrenal gland", "aorta", "atrium", "bone", "brain", "colon", "duodenum", "esophagus", "gallbladder"),
        *("heart", "hippocampus", "kidney", "left atrium", "left ventricle", "liver", "lung", "pancreas", "prostate"),
        *("pulmonary artery", "right atrium", "right ventricle", "spleen", "stomach", "vertebra"),
    )
)
_ABNORMAL = {"cancer": "Neoplasm", "lesion": "Lesion", "tumor": "Neoplasm", "tumour": "Neoplasm"}


def kind_of_class(name: str) -> tuple[Code, Code]:
    """Return the category (of context group 7150) and the type of a segment with this class name."""
    from pydicom.sr.codedict import codes

    words = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    if words in _ABNORMAL:
        return codes.cid7150.MorphologicallyAbnormalStructure, getattr(codes.SCT, _ABNORMAL[words])
    if words in _ORGANS:
        return codes.cid7150.AnatomicalStructure, getattr(codes.SCT, words.title().replace(" ", ""))
    return codes.cid7150.Tissue, codes.SCT.Tissue
