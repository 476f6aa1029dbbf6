"""Bijectors over images `[H, W, C]`, usable alone, with TFP and with one another."""

from lcma_tf.bijectors.act_norm import ActNorm
from lcma_tf.bijectors.base import ForeignBijector, ImageBijector
from lcma_tf.bijectors.batch_norm import InFlowBatchNorm
from lcma_tf.bijectors.chain import FlowLayer, ImageChain
from lcma_tf.bijectors.conditional_exit import ConditionalExit
from lcma_tf.bijectors.coupling import AffineCoupling
from lcma_tf.bijectors.curved_coupling import CurvedCoupling
from lcma_tf.bijectors.invertible_conv import InvertibleConv, InvertibleMatrix
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.bijectors.pixel import LARGEST_PIXEL, PixelLogit, dequantize, quantize
from lcma_tf.bijectors.rotation import ChannelRotation
from lcma_tf.bijectors.spline_coupling import SplineCoupling
from lcma_tf.bijectors.split import LikelihoodContributionSplit
from lcma_tf.bijectors.squeeze import Squeeze, Squeezed
from lcma_tf.bijectors.variational_dequantization import VariationalDequantization
from lcma_tf.bijectors.whitening import CausalWhitening

__all__ = [
    "LARGEST_PIXEL",
    "ActNorm",
    "AffineCoupling",
    "CausalWhitening",
    "ChannelRotation",
    "ConditionalExit",
    "CurvedCoupling",
    "FlowLayer",
    "ForeignBijector",
    "ImageBijector",
    "ImageChain",
    "InFlowBatchNorm",
    "InvertibleConv",
    "InvertibleMatrix",
    "LikelihoodContributionSplit",
    "PassOptions",
    "PixelLogit",
    "SplineCoupling",
    "Squeeze",
    "Squeezed",
    "VariationalDequantization",
    "dequantize",
    "quantize",
]
