"""BERT: an encoder that reads a text as a whole, pretrained by filling gaps."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="bert",
    family="BERT",
    help="Encoder that reads a text as a whole: pretrained by filling gaps, fine-tuned to classify it or its tokens.",
    tasks=("classification", "token_classification", "masked_language_modelling"),
    inputs=("tokens",),
    paper="Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, "
    "arXiv:1810.04805",
    when="Classifying texts or their tokens with few labels, after pretraining on more text with the same words.",
    cost="About 12 x layers x width^2 parameters beside the table of tokens; 109,482,240 at the defaults (BERT-base).",
    config="forgeline_architectures.bert.config:BertConfig",
    model="forgeline_architectures.bert.model:build_model",
    module="forgeline_architectures.bert.module:build_module",
    blocks=("bert.encoder.layer",),
    narrowing="forgeline_architectures.bert.narrowing:narrow",
)
