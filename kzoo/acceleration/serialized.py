"""Names that Keras writes into the JSON of a model for what has no public name: functional models and operations."""

FUNCTIONAL = {"keras.src.models.functional": "Functional"}

# What stands in a model where tensors are computed with: `x + y`, `keras.ops.mean(x)`. Module -> classes.
# None of those that call a function which they are given: Cond, Map, Scan, VectorizedMap, WhileLoop and their like.
OPERATIONS = {
    "keras.src.activations.activations": "Mish ReLU",
    "keras.src.ops.core": "Cast SaturateCast Slice SliceUpdate StopGradient Unstack",
    "keras.src.ops.einops": "Rearrange",
    "keras.src.ops.image": """
        CropImages ExtractPatches GaussianBlur HSVToRGB PadImages RGBToGrayscale RGBToHSV Resize SobelEdges
        """,
    "keras.src.ops.linalg": "Norm",
    "keras.src.ops.math": "Erf Logsumexp Rsqrt TopK",
    "keras.src.ops.nn": """
        AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm Celu Conv ConvTranspose DepthToSpace DepthwiseConv
        DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid
        LogSoftmax MaxPool Moments Normalize OneHot RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink
        Softmax Softplus Softsign SpaceToDepth SparsePlus SparseSigmoid Sparsemax Squareplus TanhShrink Threshold
        """,
    "keras.src.ops.numpy": """
        Abs Absolute Add All Amax Amin Any Append Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin
        Argsort Average BroadcastTo Cbrt Ceil Clip Concatenate Copy Cos Cosh CountNonzero Cumprod Cumsum Diff Divide
        DivideNoNan Dot Dstack Einsum Equal Exp Exp2 ExpandDims Expm1 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax
        Fmin Fmod FullLike GetItem Greater GreaterEqual Hstack Hypot Inner Isfinite Isinf Isnan Less LessEqual Log Log10
        Log1p Log2 Logaddexp LogicalAnd LogicalNot LogicalOr LogicalXor Matmul Max Maximum Mean Median Min Minimum Mod
        Moveaxis Multiply NanToNum Negative NotEqual OnesLike Outer Pad Power Prod Quantile Ravel Reciprocal Repeat
        Reshape Roll Rot90 Round Sign Sin Sinc Sinh Sort Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Take
        TakeAlongAxis Tan Tanh Tensordot Tile Transpose Tril Triu TrueDivide Trunc Var Vstack Where ZerosLike
        """,
}
