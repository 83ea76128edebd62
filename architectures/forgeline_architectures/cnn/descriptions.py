"""What is told of timm's models by name: the paper, when to use it or not, and the cost, of those that are measured.

A model whose name is not in the table is of a paper that only timm's page tells; nothing is guessed from its name.
Parameters and multiplications are of a picture of 224x224 pixels and 1,000 classes, as measurements.json has them.
"""

from __future__ import annotations

import re

from forgeline_architectures.descriptor import Description

_RESNET = Description(
    paper="He, Zhang, Ren & Sun 2016, Deep Residual Learning for Image Recognition, arXiv:1512.03385",
    when="Pictures, to begin with; with `pretrained`, also where there are only some hundreds of them.",
    when_not="On a phone: mobilenetv3_large_100 needs a tenth of the arithmetic. Pictures of 8x8 pixels: use `stem: "
    "small`, `image_size`, or a lenet.",
    cost="resnet18: 11.7 M parameters, 1.8 G multiplications; resnet50: 25.6 M, 4.1 G; resnet152: 60.2 M, 11.5 G.",
)

# Pattern of the whole name -> what is told. Variants with another first layer, norm or training are not in the papers.
TABLE: dict[str, Description] = {
    r"resnet\d+": _RESNET,
    r"vgg\d+(_bn)?": Description(
        paper="Simonyan & Zisserman 2015, Very Deep Convolutional Networks for Large-Scale Image Recognition, "
        "arXiv:1409.1556",
        when="For features that other methods were built on, such as perceptual losses; small ones by `width`.",
        when_not="Where accuracy counts: a ResNet is better with a fifth of the parameters. Without `_bn`, from random "
        "weights: it hardly learns.",
        cost="vgg16: 138.4 M parameters, nine tenths of them in its dense layers, and 15.5 G multiplications.",
    ),
    r"densenet(121|161|169|201)": Description(
        paper="Huang, Liu, van der Maaten & Weinberger 2017, Densely Connected Convolutional Networks, "
        "arXiv:1608.06993",
        when="Few parameters for the accuracy, as where models are stored or sent.",
        when_not="Where memory of training is short: each layer reads the outputs of all before it in its block, which "
        "are kept.",
        cost="densenet121: 8.0 M parameters, 2.8 G multiplications.",
    ),
    r"inception_v3": Description(
        paper="Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2016, Rethinking the Inception Architecture for Computer "
        "Vision, arXiv:1512.00567",
        when="Pictures of about 299x299 pixels with things of different sizes; with `auxiliary`, a second head helps "
        "lower layers to learn.",
        when_not="Pictures below 75x75 pixels, which its published first layers shrink to nothing: use another `stem`. "
        "`trainer.compile` does not reach its training step with `auxiliary`.",
        cost="23.8 M parameters, 5.7 G multiplications at 299x299 pixels.",
    ),
    r"(tf_)?efficientnet_b[0-7]": Description(
        paper="Tan & Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, "
        "arXiv:1905.11946",
        when="Little arithmetic for the accuracy; b0 to b7 grow depth, width and the picture together.",
        when_not="Where a step's time counts more than its multiplications: depth-wise convolutions wait for memory.",
        cost="efficientnet_b0: 5.3 M parameters, 0.39 G multiplications; the latter about double from size to size.",
    ),
    r"mobilenetv2_\d+": Description(
        paper="Sandler, Howard, Zhu, Zhmoginov & Chen 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks, "
        "arXiv:1801.04381",
        when="Predictions on phones and small processors; the number in the name is the width in hundredths.",
        when_not="On a GPU: depth-wise convolutions wait for memory, and save less time than arithmetic.",
        cost="mobilenetv2_100: 3.5 M parameters, 0.30 G multiplications.",
    ),
    r"(tf_)?mobilenetv3_(large|small)_(minimal_)?(050|075|100)": Description(
        paper="Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le & Adam 2019, Searching for "
        "MobileNetV3, arXiv:1905.02244",
        when="Predictions on phones and small processors, where MobileNetV2 is too slow or too coarse.",
        when_not="On a GPU: depth-wise convolutions wait for memory, and save less time than arithmetic.",
        cost="mobilenetv3_large_100: 5.5 M parameters, 0.22 G multiplications.",
    ),
    r"vit_(tiny|small|base|large|huge)_patch\d+_\d+": Description(
        paper="Dosovitskiy et al. 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, "
        "arXiv:2010.11929 (sizes tiny and small: Touvron et al. 2021, arXiv:2012.12877)",
        when="With `pretrained`, or with millions of pictures; where it has to be seen what was looked at "
        "(`attention_maps`).",
        when_not="Few pictures and no trained weights: a ResNet knows from the start that neighbouring pixels belong "
        "together.",
        cost="12 x layers x width^2 parameters; arithmetic grows with the number of patches, and of attention with its "
        "square. vit_base_patch16_224: 86.6 M parameters, 17.6 G multiplications.",
    ),
}


def description(name: str) -> Description:
    """What is told of a model; of one that is not in the table, where it is told."""
    found = next((told for pattern, told in TABLE.items() if re.fullmatch(pattern, name)), None)
    return found or Description(
        paper=f"see timm's page of the model {name}; the library: Wightman 2019, PyTorch Image Models",
        when=f"see timm's page of the model {name}",
        when_not="Where a resnet18 has not been tried: it is the one to compare with.",
        cost="not measured here: see timm's page of the model",
    )
