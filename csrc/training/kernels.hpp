// Rows and attention of a training step on CPUs: values, gradients and gradients of gradients, each in one pass.
//
// Compiled once for each instruction set, without templates of other headers: the linker could take those of the
// widest set for all. Every function works on a range of rows or atoms, so that the caller can share them out.
#pragma once

#include <cstdint>

namespace mtt::training {

// Where the tokens of an atom are: row n of N atoms, then its edges at N + first[n] + 0 ... counts[n] - 1.
struct Tokens {
    std::int64_t n_atoms;
    const std::int64_t* first;
    const std::int64_t* counts;
    std::int64_t heads;
    std::int64_t head_dim;
    double scale;
};

// The pointers of arrays that a result does not need are null. `T` is float or double.
template <typename T>
struct Kernels {
    // y = x r w with r = (mean(x^2) + epsilon)^(-1/2), for rows of `d` numbers.
    void (*norm)(const T* x, const T* w, T* y, std::int64_t rows, std::int64_t d, T epsilon);
    // Gradient gx of <gy, y>; adds that by w to gw.
    void (*norm_back)(const T* x, const T* w, const T* gy, T* gx, T* gw, std::int64_t rows, std::int64_t d, T epsilon);
    // Gradient of <v, gx>: by gy and x; adds that by w to gw.
    void (*norm_twice)(
        const T* x, const T* w, const T* gy, const T* v, T* by_gy, T* by_x, T* gw, std::int64_t rows, std::int64_t d,
        T epsilon
    );
    // y = (x - mean(x)) r w + b with r = (variance(x) + epsilon)^(-1/2); the same derivatives.
    void (*center)(const T* x, const T* w, const T* b, T* y, std::int64_t rows, std::int64_t d, T epsilon);
    void (*center_back)(
        const T* x, const T* w, const T* gy, T* gx, T* gw, T* gb, std::int64_t rows, std::int64_t d, T epsilon
    );
    void (*center_twice)(
        const T* x, const T* w, const T* gy, const T* v, T* by_gy, T* by_x, T* gw, std::int64_t rows, std::int64_t d,
        T epsilon
    );
    // y = a sigmoid(b) for rows x = (a, b) of twice `d` numbers.
    void (*glu)(const T* x, T* y, std::int64_t rows, std::int64_t d);
    void (*glu_back)(const T* x, const T* gy, T* gx, std::int64_t rows, std::int64_t d);
    void (*glu_twice)(const T* x, const T* gy, const T* v, T* by_gy, T* by_x, std::int64_t rows, std::int64_t d);
    // y = x sigmoid(x).
    void (*silu)(const T* x, T* y, std::int64_t n);
    void (*silu_back)(const T* x, const T* gy, T* gx, std::int64_t n);
    void (*silu_twice)(const T* x, const T* gy, const T* v, T* by_gy, T* by_x, std::int64_t n);
    // Attention among the tokens of atoms `begin` ... `end` - 1; `work` holds scratch(...) numbers.
    void (*attend)(const Tokens&, const T* qkv, const T* f, T* out, T* work, std::int64_t begin, std::int64_t end);
    void (*attend_back)(
        const Tokens&, const T* qkv, const T* f, const T* go, T* gqkv, T* gf, T* work, std::int64_t begin,
        std::int64_t end
    );
    void (*attend_twice)(
        const Tokens&, const T* qkv, const T* f, const T* go, const T* v, const T* vf, T* by_go, T* by_qkv, T* by_f,
        T* work, std::int64_t begin, std::int64_t end
    );
};

// Numbers of scratch space for atoms with at most `width` tokens.
inline std::int64_t scratch(std::int64_t width, std::int64_t head_dim) {
    const std::int64_t tokens = (width + 7) / 8 * 8, padded = (head_dim + 7) / 8 * 8;
    return (3 + 2 * padded + 4 * width) * tokens + 8 * width * padded;
}

namespace baseline { const Kernels<float>& of(float); const Kernels<double>& of(double); }
namespace avx2 { const Kernels<float>& of(float); const Kernels<double>& of(double); }
namespace avx512 { const Kernels<float>& of(float); const Kernels<double>& of(double); }

}  // namespace mtt::training
