"""The bars of the image classifiers of the zoo, on test data.

LeNet takes seconds and is measured three times; the networks of timm once each, which the hour of a group allows.
"""

from __future__ import annotations

from benchmarks.bars import Bar

ONCE = (0,)

BARS = (
    Bar(name="mnist5k LeNet", spec="zoo/lenet.yaml", metric="accuracy", at_least=0.97, limit_s=60),
    Bar(name="mnist5k VGG-16, narrow", spec="zoo/vgg.yaml", metric="accuracy", values=ONCE, at_least=0.97),
    Bar(name="mnist5k ResNet-18 of the zoo", spec="zoo/resnet.yaml", metric="accuracy", values=ONCE, at_least=0.97),
    Bar(name="mnist5k DenseNet, small", spec="zoo/densenet.yaml", metric="accuracy", values=ONCE, at_least=0.97),
    Bar(name="mnist5k Inception, small", spec="zoo/inception.yaml", metric="accuracy", values=ONCE, at_least=0.97),
    Bar(name="mnist5k ViT, small", spec="zoo/vit.yaml", metric="accuracy", values=ONCE, at_least=0.92),
    Bar(name="digits EfficientNet-B0", spec="zoo/efficientnet.yaml", metric="accuracy", values=ONCE, at_least=0.96),
    Bar(name="digits MobileNet V2", spec="zoo/mobilenet_v2.yaml", metric="accuracy", values=ONCE, at_least=0.96),
    Bar(name="digits MobileNet V3", spec="zoo/mobilenet_v3.yaml", metric="accuracy", values=ONCE, at_least=0.96),
)
