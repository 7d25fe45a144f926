"""PaddleOCRVLForConditionalGeneration: the text model, an ERNIE 4.5 whose rotary halves are consecutive.

Sections of the rotary embedding follow time, height and width of an image; text has one position in all. The vision
part is omitted.
Source: PaddleOCRModel in conversion/ernie.py of the pinned llama.cpp, and its src/models/paddleocr.cpp.
"""

import msgspec

from quant.convert.families.ernie4_5 import FAMILY as ERNIE
from quant.convert.families.qwen2vl import VISION, require_sections

FAMILY = msgspec.structs.replace(
    ERNIE,  # whose defaults are also those of transformers' PaddleOCRTextConfig (5.24)
    architectures=("PaddleOCRVLForConditionalGeneration",),
    model_types=("paddleocr_vl", "paddleocr_vl_text"),
    arch="paddleocr",
    check=require_sections,
    omitted=(*VISION, "mlp_AR.", "model.projector."),
    base_prefix="model.",
)
