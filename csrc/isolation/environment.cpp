#include "mtt/isolation/environment.hpp"

#include <algorithm>
#include <string_view>

namespace mtt {

namespace {

/// OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY and KMP_AFFINITY are not here: they set the processors of a thread from
/// another one, which the filter of system calls can not tell from those of a stranger's process.
constexpr std::string_view allowed[] = {
    // the C library and the loader
    "LANG", "LANGUAGE", "TZ", "TZDIR", "LOCPATH", "GLIBC_TUNABLES", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_BIND_NOW",
    "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_PERTURB_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
    // OpenMP of GNU, LLVM and Intel
    "OMP_CANCELLATION", "OMP_DISPLAY_ENV", "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED", "OMP_NUM_THREADS",
    "OMP_SCHEDULE", "OMP_STACKSIZE", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "GOMP_STACKSIZE",
    "KMP_ALL_THREADS", "KMP_BLOCKTIME", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "KMP_LIBRARY", "KMP_SETTINGS",
    "KMP_STACKSIZE", "KMP_WARNINGS",
    // linear algebra
    "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_DISABLE_FAST_MM", "MKL_DOMAIN_NUM_THREADS", "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS", "MKL_FAST_MEMORY_LIMIT", "MKL_INTERFACE_LAYER", "MKL_NUM_STRIPES", "MKL_NUM_THREADS",
    "MKL_SERVICE_FORCE_INTEL", "MKL_THREADING_LAYER", "MKL_VERBOSE", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS",
    "OPENBLAS_VERBOSE", "GOTO_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "DNNL_MAX_CPU_ISA", "DNNL_CPU_ISA_HINTS", "DNNL_DEFAULT_FPMATH_MODE", "DNNL_PRIMITIVE_CACHE_CAPACITY",
    "DNNL_VERBOSE", "ONEDNN_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS", "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "ONEDNN_VERBOSE", "LRU_CACHE_CAPACITY", "FBGEMM_ENABLE_AVX512_256",
    "FBGEMM_ENABLE_INSTRUCTIONS", "FBGEMM_FORCE_AUTOVEC", "FBGEMM_NO_ASMJIT", "FBGEMM_NO_AUTOVEC",
    // libtorch
    "ATEN_CPU_CAPABILITY", "CUDA_VISIBLE_DEVICES", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_FUSION_DEBUG", "PYTORCH_JIT_LOG_LEVEL", "PYTORCH_JIT_OPT_LIMIT", "PYTORCH_JIT_TYPE_VERBOSITY",
    "PYTORCH_TENSOREXPR", "PYTORCH_TENSOREXPR_DONT_FUSE", "PYTORCH_TENSOREXPR_FALLBACK", "THP_MEM_ALLOC_ENABLE",
    "TORCH_CPP_LOG_LEVEL", "TORCH_DISABLE_ADDR2LINE", "TORCH_JIT_DISABLE_NEW_EXECUTOR", "TORCH_LINEAR_FLATTEN_3D",
    "TORCH_MKLDNN_MATMUL_MIN_DIM", "TORCH_MKLDNN_MATMUL_MIN_SIZE", "TORCH_SHOW_CPP_STACKTRACES",
    "TORCH_SYMBOLIZE_MODE", "NVIDIA_TF32_OVERRIDE",
    // sanitizers, for builds with them
    "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS",
};

bool is_allowed(std::string_view name) {
    constexpr std::string_view locale = "LC_";
    constexpr std::string_view categories[] = {
        "LC_ADDRESS", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION", "LC_MEASUREMENT", "LC_MESSAGES",
        "LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER", "LC_TELEPHONE", "LC_TIME",
    };
    if (name.substr(0, locale.size()) == locale) {
        return std::find(std::begin(categories), std::end(categories), name) != std::end(categories);
    }
    return std::find(std::begin(allowed), std::end(allowed), name) != std::end(allowed);
}

}  // namespace

std::vector<std::string> worker_environment(const std::vector<std::string>& variables) {
    // A folder that is not there: what wants to keep a file fails at once instead of at a folder of the user's.
    std::vector<std::string> out = {"HOME=/nonexistent", "TMPDIR=/nonexistent"};
    for (const auto& variable : variables) {
        if (is_allowed(std::string_view(variable).substr(0, variable.find('=')))) {
            out.push_back(variable);
        }
    }
    return out;
}

}  // namespace mtt
