"""Why a text class of the pinned converter is not converted by ours. Sizes are of all parameters.

Source: the types in src/models/ of the pinned llama.cpp, the models' cards where it names none.
"""

EMBEDDINGS = "embeddings, no text"
DRAFT = "a draft model"
SPEECH = "speech"
DIFFUSION = "diffusion"
ENCODER = "encoder and decoder"
NOT_YET = "not yet"


def _larger(sizes: str) -> str:
    return f"only larger models ({sizes})"


_BY_REASON = {
    EMBEDDINGS: (
        "BertForMaskedLM BertForSequenceClassification BertModel CamembertModel DistilBertForMaskedLM "
        "DistilBertForSequenceClassification DistilBertModel NomicBertModel RobertaForSequenceClassification "
        "RobertaModel XLMRobertaForSequenceClassification XLMRobertaModel EuroBertModel JinaEmbeddingsV5Model "
        "Gemma3TextModel JinaBertForMaskedLM JinaBertModel LlamaBidirectionalModel ModernBertForMaskedLM "
        "ModernBertForSequenceClassification ModernBertModel NeoBERT NeoBERTForSequenceClassification NeoBERTLMHead "
        "Lfm2BidirectionalModel Lfm2Model LlamaModel Qwen2Model Qwen3Model Qwen2VLModel"
    ),
    DRAFT: (
        "DFlash2DraftModel DFlashDraftModel DSparkDraftModel DSparkSpeculator DeepseekV4DSparkModel Gemma4DSparkModel "
        "Lfm2DSparkDraftModel LingDSparkModel MuseGlimmerAssistantModel Qwen3DSparkModel Eagle3DraftModel "
        "Eagle3LlamaForCausalLM Eagle3Speculator LlamaForCausalLMEagle3 Gemma4AssistantForCausalLM "
        "Gemma4UnifiedAssistantForCausalLM"
    ),
    SPEECH: "Lfm25AudioTokenizer PocketTTSModel Qwen3TTSForConditionalGeneration WavTokenizerDec",
    DIFFUSION: "DreamModel LLaDAModelLM LLaDAMoEModel LLaDAMoEModelLM RND1",
    ENCODER: (
        "MT5ForConditionalGeneration T5ForConditionalGeneration T5WithLMHeadModel UMT5ForConditionalGeneration "
        "UMT5Model T5EncoderModel"
    ),
    _larger("480B"): "ArcticForCausalLM",
    _larger("132B"): "DbrxForCausalLM",
    _larger("671B"): "DeepseekV32ForCausalLM DeepseekV4ForCausalLM",
    _larger("142B"): "Dots1ForCausalLM",
    _larger("288B"): "Dots3NoteForCausalLM Dots3NoteForConditionalGeneration Dots3NoteTextForCausalLM",
    _larger("30B and 235B"): "ExaoneMoEForCausalLM ExaoneMoeForCausalLM",
    _larger("102B and more"): "Glm4MoeForCausalLM Glm4vMoeForConditionalGeneration SolarOpenForCausalLM",
    _larger("320B"): "Glm5NextForConditionalGeneration",
    _larger("744B"): "GlmMoeDsaForCausalLM",
    _larger("314B"): "Grok1ForCausalLM GrokForCausalLM",
    _larger("30B"): (
        "GroveMoeForCausalLM modeling_grove_moe.GroveMoeForCausalLM HYV3ForCausalLM Cohere2MoeForCausalLM "
        "MuseGlimmerForConditionalGeneration Glm4MoeLiteForCausalLM SarvamMoEForCausalLM "
        "modeling_sarvam_moe.SarvamMoEForCausalLM"
    ),
    _larger("30B and more"): "LagunaForCausalLM Qwen3OmniMoeForConditionalGeneration",
    _larger("48B and more"): "KimiLinearForCausalLM KimiLinearModel",
    _larger("1T and more"): "KimiK3ForConditionalGeneration KimiK25ForConditionalGeneration",
    _larger("109B and 400B"): "Llama4ForCausalLM Llama4ForConditionalGeneration",
    _larger("310B"): "MiMoV2FlashForCausalLM MiMoV2ForCausalLM",
    _larger("229B and more"): (
        "MiniMaxM1ForCausalLM MiniMaxText01ForCausalLM MiniMaxM2ForCausalLM MiniMaxM3SparseForCausalLM "
        "MiniMaxM3SparseForConditionalGeneration"
    ),
    _larger("196B"): "Step3p5ForCausalLM Step3p7ForConditionalGeneration",
    _larger("20B"): "MapleForCausalLM",
    _larger("30B and 235B, of Qwen3-VL"): "Qwen3VLMoeForConditionalGeneration",
    _larger("33B"): "Exaone4_5_ForConditionalGeneration",
    _larger("75B"): "NemotronHPuzzleForCausalLM",
    _larger("17B and more"): "CogVLMForCausalLM",
    "its tokenizer is code of its repository": "ChatGLMForConditionalGeneration ChatGLMModel",
    "its tokenizer is a tekken.json": "VoxtralForConditionalGeneration",
    "published without a tokenizer": "MambaLMHeadModel",
    "it has no text model of its own": "UltravoxModel",
    "llama.cpp's converter lacks its tensors' names": "OLMoForCausalLM",
    "llama.cpp does not compute its window": "UnlimitedOCRForCausalLM",
    "no public config": "VLlama3ForCausalLM GraniteMoeSWAForCausalLM",
    "only a random model is public": "Gemma4UnifiedForConditionalGeneration",
    NOT_YET: (
        "BailingMoeV3ForCausalLM BailingMoeV3VLForConditionalGeneration ChameleonForCausalLM "
        "ChameleonForConditionalGeneration "
        "GlmOcrForConditionalGeneration RuGPT3XLForCausalLM BambaForCausalLM "
        "GraniteSwitchForCausalLM HrmTextForCausalLM HYV4ForCausalLM PlamoForCausalLM "
        "Qwen3ASRForConditionalGeneration Qwen4ExpForCausalLM Qwen4ExpForConditionalGeneration "
        "TalkieForCausalLM"
    ),
}

REASONS = {name: reason for reason, names in _BY_REASON.items() for name in names.split()}
