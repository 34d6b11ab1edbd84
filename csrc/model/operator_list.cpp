// What models may use, chosen by hand: operators that compute from their arguments alone, check them, and touch neither
// memory that is not theirs, nor files, addresses, other threads or the terminal. No namespace is let in as a whole.
//
// Known weakness: repeat_interleave, which PET needs, adds counts up without looking whether the sum still fits 64 bits,
// and then writes beyond its memory. docs/concepts/threat-model.md says so.
//
// Left out on purpose, although harmless at first sight:
//   as_strided, set_, resize_, storage_offset     places in memory by number
//   hash, id, print, save, from_file, warn_*      addresses, terminal, files (aten::warn is kept: it is collected)
//   *unsafe*, sparse_*, segment_reduce, put,      trust indices or shapes that the caller gives
//   embedding_bag, max_unpool*, grid_sampler*,
//   quantize*, fbgemm_*, *_backward, *_forward
//   names with "_" at the front                   internal parts, which leave checks to their callers; exceptions below
//   lstm                                          oneDNN takes the shapes of states and weights unchecked: writes beyond
//   nll_loss, cross_entropy_loss,                 their derivatives do not check targets again
//   data                                          a tensor without the counter of changes that derivatives look at
//   linalg_eigvals                                crashes for numbers that are none
//   lstm_cell and the like                        no module uses them
#include <set>
#include <sstream>

#include "mtt/model/operators.hpp"

namespace mtt {

namespace {

std::set<std::string> words(const char* text, const std::string& prefix = "") {
    std::set<std::string> out;
    std::istringstream stream(text);
    for (std::string word; stream >> word;) {
        out.insert(prefix + word);
    }
    return out;
}

/// Of aten: called as torch.NAME, as ops.aten.NAME, and on a tensor as .NAME
const char* const tensor_operators = R"(
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr adjoint alias all allclose amax amin aminmax
    angle any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort argwhere as_tensor asin
    asinh atan atan2 atanh atleast_1d atleast_2d atleast_3d baddbmm batch_norm bernoulli bilinear binary_cross_entropy
    binary_cross_entropy_with_logits bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
    bitwise_xor block_diag bmm broadcast_tensors broadcast_to bucketize cartesian_prod cat cdist ceil celu chain_matmul
    cholesky cholesky_inverse cholesky_solve chunk clamp clamp_max clamp_min clip clone column_stack combinations
    complex concat concatenate conj conj_physical constant_pad_nd contiguous conv1d conv2d conv3d convolution copysign
    corrcoef cos cosh cosine_similarity count_nonzero cov cpu cross cummax cummin cumprod cumsum
    cumulative_trapezoid deg2rad det detach diag diag_embed diagflat diagonal diagonal_scatter diff digamma dim dist
    div divide dot dropout dsplit dstack einsum element_size elu embedding empty empty_like eq equal erf erfc erfinv
    exp exp2 expand expand_as expm1 eye feature_dropout fill flatten flip fliplr flipud float_power floor floor_divide
    fmax fmin fmod frac frexp frobenius_norm full full_like gather gcd ge gelu gradient ger glu greater greater_equal
    group_norm gru gt hamming_window hann_window hardshrink hardsigmoid hardswish hardtanh heaviside hinge_embedding_loss
    histc hsplit hstack huber_loss hypot i0 igamma igammac imag index index_add index_copy index_fill index_put
    index_reduce index_select inner instance_norm inverse is_complex is_conj is_contiguous is_floating_point is_neg
    is_nonzero is_same_size is_signed isclose isfinite isin isinf isnan isneginf isposinf isreal item kaiser_window
    kl_div kron kthvalue l1_loss layer_norm lcm ldexp le leaky_relu lerp less less_equal lgamma linear linspace log
    log10 log1p log2 log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp logdet logical_and logical_not
    logical_or logical_xor logit logspace logsumexp lt lu_solve mH mT margin_ranking_loss masked_fill
    masked_scatter masked_select matmul matrix_H matrix_exp matrix_power max maximum mean median meshgrid min minimum
    mish mm mode moveaxis movedim mse_loss msort mul multinomial multiply mv mvlgamma nan_to_num nanmean nanmedian
    nanquantile nansum narrow narrow_copy native_layer_norm ne neg negative new_empty new_full new_ones new_zeros
    nextafter nonzero nonzero_numpy numpy_T norm normal not_equal nuclear_norm numel one_hot ones
    ones_like outer pad pad_sequence pairwise_distance pdist permute pinverse pixel_shuffle pixel_unshuffle poisson_nll_loss
    polar polygamma positive pow prelu prod qr quantile rad2deg rand rand_like randint randint_like randn randn_like
    randperm range ravel real reciprocal reflection_pad1d reflection_pad2d relu relu6 remainder renorm repeat
    repeat_interleave replication_pad1d replication_pad2d requires_grad_ reshape reshape_as resolve_conj resolve_neg
    rms_norm rnn_relu rnn_tanh roll rot90 round row_stack rsqrt rsub scalar_tensor scaled_dot_product_attention scatter
    scatter_add scatter_reduce searchsorted select select_scatter selu sgn sigmoid sign signbit silu sin sinc sinh size
    slice slice_scatter slogdet smooth_l1_loss soft_margin_loss softmax softplus softshrink sort split
    split_with_sizes sqrt square squeeze stack std std_mean stft stride sub subtract sum sum_to_size svd swapaxes
    swapdims t take_along_dim tan tanh tensor tensor_split tensordot threshold tile to topk trace transpose trapezoid
    trapz triangular_solve tril tril_indices triplet_margin_loss triu triu_indices true_divide trunc type_as unbind
    unflatten unfold unique_consecutive unique_dim unsqueeze vander var var_mean vdot view view_as view_as_complex
    view_as_real vsplit vstack where xlogy zeros zeros_like
    abs_ acos_ add_ addcdiv_ addcmul_ addmm_ addmv_ asin_ atan_ atan2_ baddbmm_ bernoulli_ bitwise_and_ bitwise_not_
    bitwise_or_ bitwise_xor_ ceil_ celu_ clamp_ clamp_max_ clamp_min_ clip_ copy_ cos_ cosh_ cumsum_ cumprod_ detach_
    digamma_ div_ divide_ dropout_ elu_ eq_ erf_ erfc_ erfinv_ exp_ exp2_ expm1_ fill_ fill_diagonal_ floor_
    floor_divide_ fmod_ frac_ ge_ gelu_ gt_ hardsigmoid_ hardswish_ hardtanh_ index_add_ index_copy_ index_fill_
    index_put_ index_reduce_ le_ leaky_relu_ lerp_ lgamma_ log_ log10_ log1p_ log2_ logical_and_ logical_not_
    logical_or_ logical_xor_ logit_ lt_ masked_fill_ masked_scatter_ mish_ mul_ multiply_ nan_to_num_ ne_ neg_
    negative_ normal_ pow_ prelu_ reciprocal_ relu_ relu6_ remainder_ round_ rsqrt_ scatter_ scatter_add_
    scatter_reduce_ selu_ sigmoid_ sign_ silu_ sin_ sinc_ sinh_ softmax_ sqrt_ square_ squeeze_ sub_ subtract_ t_ tan_
    tanh_ threshold_ transpose_ tril_ triu_ trunc_ uniform_ unsqueeze_ where_ xlogy_ zero_
    linalg_cholesky linalg_cholesky_ex linalg_cond linalg_cross linalg_det linalg_diagonal linalg_eig linalg_eigh
    linalg_eigvalsh linalg_inv linalg_inv_ex linalg_lstsq linalg_lu linalg_lu_factor linalg_matmul
    linalg_matrix_exp linalg_matrix_norm linalg_matrix_power linalg_matrix_rank linalg_multi_dot linalg_norm
    linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_ex linalg_solve_triangular linalg_svd
    linalg_svdvals linalg_tensorinv linalg_tensorsolve linalg_vander linalg_vecdot linalg_vector_norm
    fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft
    fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn
    special_bessel_j0 special_bessel_j1 special_digamma special_entr special_erf special_erfc special_erfcx
    special_erfinv special_exp2 special_expit special_expm1 special_gammainc special_gammaincc special_gammaln
    special_i0 special_i0e special_i1 special_i1e special_log1p special_log_ndtr special_log_softmax special_logit
    special_logsumexp special_multigammaln special_ndtr special_ndtri special_polygamma special_psi special_round
    special_sinc special_softmax special_xlog1py special_xlogy special_zeta
)";

/// Of aten: on numbers, texts, lists and dictionaries, and what Python's syntax becomes.
const char* const language_operators = R"(
    Bool Size Complex ComplexImplicit Delete Float FloatImplicit Int IntImplicit ScalarImplicit __and__ __contains__
    __derive_index __getitem__ __iand__ __ilshift__ __ior__ __irshift__ __is__ __isnot__ __ixor__ __lshift__ __not__
    __or__ __range_length __round_to_zero_floordiv __rshift__ __xor__ _set_item append bin capitalize ceil center chr
    clear copy copysign count degrees dict device divmod endswith expandtabs extend fabs factorial find floor floordiv
    format gamma get get_device grad hex index insert is_autocast_enabled
    is_autocast_cpu_enabled is_grad_enabled is_scripting isalnum isalpha isdecimal isdigit isidentifier
    islower isnumeric isprintable isspace istitle isupper items join keys len list ljust lower lstrip mathremainder
    modf oct ord partition percentFormat pop popitem radians remove replace reverse rfind rindex rjust
    rpartition rsplit rstrip setdefault sort sorted split splitlines startswith str strip swapcase title trunc update
    upper values warn zfill
)";

/// Internal parts that scripted modules of torch contain; each checks its arguments by itself, or is a plain
/// composition of operators that do.
const char* const internal_operators = R"(
    _assert_async _assert_scalar _assert_tensor_metadata _cast_Float _nested_tensor_from_mask
    _nested_tensor_from_mask_left_aligned _native_multi_head_attention _shape_as_tensor
    _transformer_encoder_layer_fwd _unique2 to_padded_tensor
)";

const char* const primitives = R"(
    EnumName EnumValue NumToTensor RaiseException abs device dtype grad is_cpu is_cuda is_meta is_nested itemsize
    layout max min name requires_grad rangelist tolist type
)";

/// Attributes and methods that are no operators of aten.
const char* const methods = R"(
    T __enter__ __exit__ __getitem__ __init__ __len__ __new__ __contains__ __str__ __repr__ __eq__ __ne__ bool
    device double dtype float forward grad half index int is_cpu is_cuda is_meta item itemsize layout long mT name
    ndim ndimension nelement real requires_grad shape short size tolist type value byte
)";

/// Of custom classes, in metatensor, metatomic and the profiler's record_function. Not: save, load, save_buffer,
/// load_buffer (files, and bytes that are taken for what they say), print, is_view.
const char* const class_methods = R"(
    names values device position entry column view append insert permute remove rename to union union_and_mapping
    intersection intersection_and_mapping difference difference_and_mapping select single empty range to_owned samples
    components properties shape add_gradient gradients_list has_gradient gradient gradients copy keys items block
    blocks block_by_id blocks_by_id blocks_matching keys_to_samples keys_to_properties components_to_properties
    sample_names component_names property_names dtype cutoff length_unit engine_cutoff full_list strict requestors
    add_requestor types positions cell pbc add_neighbor_list get_neighbor_list known_neighbor_lists add_data get_data
    known_data name description authors references extra quantity unit per_atom sample_kind explicit_gradients outputs
    atomic_types get_info set_info info interaction_range engine_interaction_range supported_devices selected_atoms
)";

const char* const other_operators = R"(
    metatensor::dtype_name metatensor::version metatomic::_check_outputs metatomic::_check_quantities
    metatomic::pick_device metatomic::pick_output metatomic::register_autograd_neighbors
    metatomic::unit_conversion_factor metatomic::unit_dimension_for_quantity metatomic::version
    profiler::_call_end_callbacks_on_jit_fut profiler::_record_function_enter_new profiler::_record_function_exit
)";

const char* const classes = R"(
    metatensor.Labels metatensor.LabelsEntry metatensor.TensorBlock metatensor.TensorMap metatomic.ModelCapabilities
    metatomic.ModelEvaluationOptions metatomic.ModelMetadata metatomic.ModelOutput metatomic.NeighborListOptions
    metatomic.System profiler._RecordFunction
)";

/// Functions and types that TorchScript knows without an import. Not: print, hash, id, fork, awaitable, rpc_*.
const char* const free_names = R"(
    tuple float int bool str len hex oct round min max abs all any divmod sum list dict ord chr bin pow complex range
    zip enumerate rangelist sorted isinstance AssertionError inf nan infj nanj _to_tensor annotate uninitialized
    Tensor Optional List Dict Tuple Union NoneType Any Device number Future Capsule Module NamedTuple Enum Final
    __annotations__ __parameters__ __buffers__
)";

}  // namespace

bool is_pure_operator(const std::string& qualified) {
    static const auto list = [] {
        auto out = words(tensor_operators, "aten::");
        out.merge(words(language_operators, "aten::"));
        out.merge(words(internal_operators, "aten::"));
        out.merge(words(primitives, "prim::"));
        out.merge(words(other_operators));
        return out;
    }();
    return list.count(qualified) != 0;
}

bool is_pure_method(const std::string& name) {
    static const auto list = [] {
        auto out = words(methods);
        out.merge(words(class_methods));
        return out;
    }();
    // Properties of custom classes are methods with such names in the text of exports.
    for (const std::string suffix : {"_getter", "_setter"}) {
        if (name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0) {
            return words(class_methods).count(name.substr(0, name.size() - suffix.size())) != 0;
        }
    }
    return list.count(name) != 0 || is_pure_operator("aten::" + name);
}

bool is_known_class(const std::string& qualified) {
    static const auto list = words(classes, "__torch__.torch.classes.");
    return list.count(qualified) != 0;
}

bool is_free_name(const std::string& name) {
    static const auto list = words(free_names);
    return list.count(name) != 0;
}

}  // namespace mtt
