// Compiled for one instruction set, MTT_INSTRUCTIONS: see kernels.hpp.
//
// The formulas are in docs/decisions/0022-training-has-kernels-of-its-own.md.
#include "kernels.hpp"

#ifndef MTT_INSTRUCTIONS
#define MTT_INSTRUCTIONS baseline
#endif

namespace mtt::training {
namespace {

using Int = std::int64_t;

constexpr double INVERSE_FACTORIALS[] = {
    1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800,
    1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
};

template <typename T> struct Bits;
template <> struct Bits<float> {
    using Whole = std::uint32_t;
    static constexpr float magic = 12582912.0f, least = -87.0f, most = 88.0f;
    static constexpr float high = 0.693359375f, low = -2.12194440e-4f;
    static constexpr int mantissa = 23, bias = 127, terms = 7;
};
template <> struct Bits<double> {
    using Whole = std::uint64_t;
    static constexpr double magic = 6755399441055744.0, least = -708.0, most = 709.0;
    static constexpr double high = 6.93145751953125e-1, low = 1.42860682030941723212e-6;
    static constexpr int mantissa = 52, bias = 1023, terms = 13;
};

// e^x = 2^n e^r with |r| < ln(2) / 2, and the series of e^r. Not a number stays so.
template <typename T> __attribute__((always_inline)) inline T exponential(T x) {
    using B = Bits<T>;
    using W = typename B::Whole;
    x = x < B::least ? B::least : x;
    x = x > B::most ? B::most : x;
    const T shifted = x * T(1.44269504088896340736) + B::magic;
    const T n = shifted - B::magic;
    const T r = (x - n * B::high) - n * B::low;
    T series = T(INVERSE_FACTORIALS[B::terms]);
#pragma GCC unroll 16
    for (int k = B::terms - 1; k >= 0; --k) series = T(INVERSE_FACTORIALS[k]) + series * r;
    // The shift drops all but the lowest bits of n + bias; signed numbers must not overflow so.
    const W power = (__builtin_bit_cast(W, shifted) + W(B::bias)) << B::mantissa;
    return series * __builtin_bit_cast(T, power);
}

template <typename T> __attribute__((always_inline)) inline T sigmoid(T x) { return T(1) / (T(1) + exponential(-x)); }

template <typename T> inline T root(T x) { return sizeof(T) == 4 ? T(__builtin_sqrtf(float(x))) : T(__builtin_sqrt(double(x))); }

// ------------------------------------------------------------------------------------------------------- norm
template <typename T> void norm(const T* x, const T* w, T* y, Int rows, Int d, T epsilon) {
    for (Int row = 0; row < rows; ++row, x += d, y += d) {
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Int k = 0; k < d; ++k) sum += x[k] * x[k];
        const T r = T(1) / root(sum / T(d) + epsilon);
#pragma omp simd
        for (Int k = 0; k < d; ++k) y[k] = x[k] * r * w[k];
    }
}

template <typename T>
void norm_back(const T* x, const T* w, const T* gy, T* gx, T* gw, Int rows, Int d, T epsilon) {
    for (Int row = 0; row < rows; ++row, x += d, gy += d, gx += d) {
        T sum = 0, s = 0;
#pragma omp simd reduction(+ : sum, s)
        for (Int k = 0; k < d; ++k) {
            sum += x[k] * x[k];
            s += x[k] * w[k] * gy[k];
        }
        const T r = T(1) / root(sum / T(d) + epsilon), c = r * r * r / T(d) * s;
#pragma omp simd
        for (Int k = 0; k < d; ++k) gx[k] = r * w[k] * gy[k] - c * x[k];
        if (gw != nullptr) {
#pragma omp simd
            for (Int k = 0; k < d; ++k) gw[k] += gy[k] * x[k] * r;
        }
    }
}

template <typename T>
void norm_twice(
    const T* x, const T* w, const T* gy, const T* v, T* by_gy, T* by_x, T* gw, Int rows, Int d, T epsilon
) {
    for (Int row = 0; row < rows; ++row, x += d, gy += d, v += d, by_gy += d, by_x += d) {
        T sum = 0, s = 0, t = 0, q = 0;
#pragma omp simd reduction(+ : sum, s, t, q)
        for (Int k = 0; k < d; ++k) {
            const T a = w[k] * gy[k];
            sum += x[k] * x[k];
            s += x[k] * a;
            t += x[k] * v[k];
            q += v[k] * a;
        }
        const T r = T(1) / root(sum / T(d) + epsilon), c = r * r * r / T(d);
        const T of_x = T(3) * r * r * c / T(d) * s * t - c * q, ct = c * t, cs = c * s;
#pragma omp simd
        for (Int k = 0; k < d; ++k) {
            const T by_a = r * v[k] - ct * x[k];
            gw[k] += gy[k] * by_a;
            by_gy[k] = w[k] * by_a;
            by_x[k] = of_x * x[k] - ct * w[k] * gy[k] - cs * v[k];
        }
    }
}

// ------------------------------------------------------------------------------------------------- layer norm
// Mean of a row, and one over its standard deviation.
template <typename T> struct Spread {
    T mean, r;

    Spread(const T* x, Int d, T epsilon) {
        T sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (Int k = 0; k < d; ++k) sum += x[k];
        mean = sum / T(d);
        const T middle = mean;
#pragma omp simd reduction(+ : squares)
        for (Int k = 0; k < d; ++k) squares += (x[k] - middle) * (x[k] - middle);
        r = T(1) / root(squares / T(d) + epsilon);
    }
};

template <typename T> void center(const T* x, const T* w, const T* b, T* y, Int rows, Int d, T epsilon) {
    for (Int row = 0; row < rows; ++row, x += d, y += d) {
        const Spread<T> of(x, d, epsilon);
        const T mean = of.mean, r = of.r;
#pragma omp simd
        for (Int k = 0; k < d; ++k) y[k] = (x[k] - mean) * r * w[k] + b[k];
    }
}

template <typename T>
void center_back(const T* x, const T* w, const T* gy, T* gx, T* gw, T* gb, Int rows, Int d, T epsilon) {
    for (Int row = 0; row < rows; ++row, x += d, gy += d, gx += d) {
        const Spread<T> of(x, d, epsilon);
        const T mean = of.mean, r = of.r;
        T a = 0, p = 0;
#pragma omp simd reduction(+ : a, p)
        for (Int k = 0; k < d; ++k) {
            a += w[k] * gy[k];
            p += w[k] * gy[k] * (x[k] - mean) * r;
        }
        a /= T(d);
        p /= T(d);
#pragma omp simd
        for (Int k = 0; k < d; ++k) gx[k] = r * (w[k] * gy[k] - a - (x[k] - mean) * r * p);
        if (gw != nullptr) {
#pragma omp simd
            for (Int k = 0; k < d; ++k) {
                gw[k] += gy[k] * (x[k] - mean) * r;
                gb[k] += gy[k];
            }
        }
    }
}

template <typename T>
void center_twice(
    const T* x, const T* w, const T* gy, const T* v, T* by_gy, T* by_x, T* gw, Int rows, Int d, T epsilon
) {
    for (Int row = 0; row < rows; ++row, x += d, gy += d, v += d, by_gy += d, by_x += d) {
        const Spread<T> of(x, d, epsilon);
        const T mean = of.mean, r = of.r;
        // Means of w gy, v, and products of them and of the normalized numbers z.
        T a = 0, b = 0, p = 0, q = 0, s = 0;
#pragma omp simd reduction(+ : a, b, p, q, s)
        for (Int k = 0; k < d; ++k) {
            const T g = w[k] * gy[k], z = (x[k] - mean) * r;
            a += g;
            b += v[k];
            p += g * z;
            q += v[k] * z;
            s += g * v[k];
        }
        a /= T(d);
        b /= T(d);
        p /= T(d);
        q /= T(d);
        s /= T(d);
        const T of_z = s - a * b - T(3) * p * q, rest = a * q + b * p;
#pragma omp simd
        for (Int k = 0; k < d; ++k) {
            const T z = (x[k] - mean) * r, by_a = r * (v[k] - b - z * q);
            gw[k] += gy[k] * by_a;
            by_gy[k] = w[k] * by_a;
            by_x[k] = -r * r * (w[k] * gy[k] * q + v[k] * p - rest + z * of_z);
        }
    }
}

// ------------------------------------------------------------------------------------------------ activations
template <typename T> void glu(const T* x, T* y, Int rows, Int d) {
    for (Int row = 0; row < rows; ++row, x += 2 * d, y += d) {
#pragma omp simd
        for (Int k = 0; k < d; ++k) y[k] = x[k] * sigmoid(x[d + k]);
    }
}

template <typename T> void glu_back(const T* x, const T* gy, T* gx, Int rows, Int d) {
    for (Int row = 0; row < rows; ++row, x += 2 * d, gy += d, gx += 2 * d) {
#pragma omp simd
        for (Int k = 0; k < d; ++k) {
            const T s = sigmoid(x[d + k]);
            gx[k] = gy[k] * s;
            gx[d + k] = gy[k] * x[k] * s * (T(1) - s);
        }
    }
}

template <typename T>
void glu_twice(const T* x, const T* gy, const T* v, T* by_gy, T* by_x, Int rows, Int d) {
    for (Int row = 0; row < rows; ++row, x += 2 * d, gy += d, v += 2 * d, by_gy += d, by_x += 2 * d) {
#pragma omp simd
        for (Int k = 0; k < d; ++k) {
            const T s = sigmoid(x[d + k]), slope = s * (T(1) - s), a = x[k], va = v[k], vb = v[d + k], g = gy[k];
            by_gy[k] = va * s + vb * a * slope;
            by_x[k] = vb * g * slope;
            by_x[d + k] = g * slope * (va + vb * a * (T(1) - T(2) * s));
        }
    }
}

template <typename T> void silu(const T* x, T* y, Int n) {
#pragma omp simd
    for (Int k = 0; k < n; ++k) y[k] = x[k] * sigmoid(x[k]);
}

template <typename T> void silu_back(const T* x, const T* gy, T* gx, Int n) {
#pragma omp simd
    for (Int k = 0; k < n; ++k) {
        const T s = sigmoid(x[k]);
        gx[k] = gy[k] * s * (T(1) + x[k] * (T(1) - s));
    }
}

template <typename T> void silu_twice(const T* x, const T* gy, const T* v, T* by_gy, T* by_x, Int n) {
#pragma omp simd
    for (Int k = 0; k < n; ++k) {
        const T s = sigmoid(x[k]);
        by_gy[k] = v[k] * s * (T(1) + x[k] * (T(1) - s));
        by_x[k] = v[k] * gy[k] * s * (T(1) - s) * (T(2) + x[k] * (T(1) - T(2) * s));
    }
}

// -------------------------------------------------------------------------------------------------- attention
// Numbers of one head and one atom are copied to small matrices with rows of multiples of eight: everything is then
// a product of matrices that stay in the first cache.
template <typename T> struct Eight {
    typedef T Vector __attribute__((vector_size(8 * sizeof(T))));
    typedef Vector Anywhere __attribute__((aligned(alignof(T)), may_alias));
};

template <typename T> __attribute__((always_inline)) inline typename Eight<T>::Vector load(const T* from) {
    return *reinterpret_cast<const typename Eight<T>::Anywhere*>(from);
}

template <typename T> __attribute__((always_inline)) inline void store(T* to, typename Eight<T>::Vector vector) {
    *reinterpret_cast<typename Eight<T>::Anywhere*>(to) = vector;
}

// Shuffles of vectors of eight, which compilers spell in two ways.
#if defined(__clang__)
#define MTT_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
template <int BYTES> struct Whole { using Type = std::int32_t; };
template <> struct Whole<8> { using Type = std::int64_t; };
#define MTT_SHUFFLE(a, b, ...) \
    __builtin_shuffle(a, b, typename Eight<typename Whole<int(sizeof(T))>::Type>::Vector{__VA_ARGS__})
#endif

template <typename T> __attribute__((always_inline)) inline T sum_of(typename Eight<T>::Vector v) {
    v += MTT_SHUFFLE(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v += MTT_SHUFFLE(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    return v[0] + v[1];
}

// Eight rows of eight become columns: pairs of rows, then of pairs, then of halves are interleaved.
template <typename T> __attribute__((always_inline)) inline void turn(typename Eight<T>::Vector (&v)[8]) {
    typename Eight<T>::Vector w[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        w[i] = MTT_SHUFFLE(v[i], v[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        w[i + 1] = MTT_SHUFFLE(v[i], v[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 8
        for (int j = 0; j < 2; ++j) {
            v[i + 2 * j] = MTT_SHUFFLE(w[i + j], w[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            v[i + 2 * j + 1] = MTT_SHUFFLE(w[i + j], w[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) {
        const typename Eight<T>::Vector low = v[i], high = v[i + 4];
        v[i] = MTT_SHUFFLE(low, high, 0, 1, 2, 3, 8, 9, 10, 11);
        v[i + 4] = MTT_SHUFFLE(low, high, 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

inline Int padded_to(Int n) { return (n + 7) / 8 * 8; }

// A matrix whose element (i, k) is at data[i * row + k * column].
template <typename T> struct Matrix {
    const T* data;
    Int row, column;
};

// ROWS rows and EIGHTS times eight columns of the product.
template <typename T, int ROWS, int EIGHTS, bool ADD>
__attribute__((always_inline)) inline void block(const T* a, Int a_row, Int a_column, const T* b, Int b_row, T* c, Int c_row, Int inner, T factor) {
    typename Eight<T>::Vector sums[ROWS][EIGHTS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < EIGHTS; ++j) sums[i][j] = typename Eight<T>::Vector{};
    for (Int k = 0; k < inner; ++k) {
        typename Eight<T>::Vector of_b[EIGHTS];
#pragma GCC unroll 8
        for (int j = 0; j < EIGHTS; ++j) of_b[j] = load(b + k * b_row + 8 * j);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            const T x = a[i * a_row + k * a_column];
#pragma GCC unroll 8
            for (int j = 0; j < EIGHTS; ++j) sums[i][j] += x * of_b[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < EIGHTS; ++j) {
            T* to = c + i * c_row + 8 * j;
            if constexpr (ADD) store(to, load(to) + factor * sums[i][j]);
            else store(to, factor * sums[i][j]);
        }
}

template <typename T, int EIGHTS, bool ADD>
inline void columns(const Matrix<T>& a, const T* b, Int b_row, T* c, Int c_row, Int rows, Int inner, T factor) {
    Int i = 0;
    for (; i + 4 <= rows && rows - i != 5 && rows - i != 6 && rows - i != 9; i += 4)
        block<T, 4, EIGHTS, ADD>(a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row, c_row, inner, factor);
    if (rows - i == 5 || rows - i == 9) {
        block<T, 5, EIGHTS, ADD>(a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row, c_row, inner, factor);
        i += 5;
    }
    if (rows - i == 4) {
        block<T, 4, EIGHTS, ADD>(a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row, c_row, inner, factor);
        i += 4;
    }
    for (; i + 3 <= rows; i += 3)
        block<T, 3, EIGHTS, ADD>(a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row, c_row, inner, factor);
    for (; i < rows; ++i)
        block<T, 1, EIGHTS, ADD>(a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row, c_row, inner, factor);
}

// c (+)= factor a b; `width`, the length of the rows of b and c, is a multiple of eight.
template <typename T, bool ADD>
void multiply(const Matrix<T>& a, const T* b, T* c, Int rows, Int inner, Int width, T factor) {
    Int j = 0;
    for (; j + 16 <= width; j += 16) columns<T, 2, ADD>(a, b + j, width, c + j, width, rows, inner, factor);
    for (; j < width; j += 8) columns<T, 1, ADD>(a, b + j, width, c + j, width, rows, inner, factor);
}

// The tokens of one atom in rows of `stride` numbers, from `column` on. DIM is their number of each head, or zero.
template <int DIM> struct Place {
    Int width;
    Int any_dim;
    Int own, edges;

    Int dim() const { return DIM > 0 ? DIM : any_dim; }
    Int padded() const { return padded_to(dim()); }
};

template <typename T, int DIM> inline void gather(const Place<DIM>& p, const T* from, Int stride, Int column, T* to) {
    const Int dim = p.dim(), padded = p.padded();
    const T* row = from + p.own * stride + column;
    const T* next = from + p.edges * stride + column;
    for (Int i = 0; i < p.width; ++i, to += padded) {
        if constexpr (DIM > 0 && DIM % 8 == 0) {
#pragma GCC unroll 8
            for (Int k = 0; k < DIM; k += 8) store(to + k, load(row + k));
        } else {
            for (Int k = 0; k < dim; ++k) to[k] = row[k];
            for (Int k = dim; k < padded; ++k) to[k] = T(0);
        }
        row = next;
        next += stride;
    }
}

template <typename T, int DIM> inline void scatter(const Place<DIM>& p, const T* from, T* to, Int stride, Int column) {
    const Int dim = p.dim(), padded = p.padded();
    T* row = to + p.own * stride + column;
    T* next = to + p.edges * stride + column;
    for (Int i = 0; i < p.width; ++i, from += padded) {
        if constexpr (DIM > 0 && DIM % 8 == 0) {
#pragma GCC unroll 8
            for (Int k = 0; k < DIM; k += 8) store(row + k, load(from + k));
        } else {
            for (Int k = 0; k < dim; ++k) row[k] = from[k];
        }
        row = next;
        next += stride;
    }
}

// Rows of tokens become columns, zero from `width` on.
template <typename T, int DIM> inline void transpose(const Place<DIM>& p, const T* from, T* to, Int tokens) {
    const Int padded = p.padded();
    for (Int i = 0; i < tokens; i += 8)
        for (Int k = 0; k < padded; k += 8) {
            typename Eight<T>::Vector block[8];
#pragma GCC unroll 8
            for (Int j = 0; j < 8; ++j)
                block[j] = i + j < p.width ? load(from + (i + j) * padded + k) : typename Eight<T>::Vector{};
            turn<T>(block);
#pragma GCC unroll 8
            for (Int j = 0; j < 8; ++j) store(to + (k + j) * tokens + i, block[j]);
        }
}

// Turn scores into A: exponentials over their sum weighted by f, zero from `width` on.
template <typename T> void normalize(T* a, const T* f, Int width, Int tokens) {
    using Vector = typename Eight<T>::Vector;
    for (Int i = 0; i < width; ++i, a += tokens) {
        for (Int j = width; j < tokens; ++j) a[j] = a[0];
        Vector largest = load(a);
        for (Int j = 8; j < tokens; j += 8) {
            const Vector next = load(a + j);
            largest = next > largest ? next : largest;
        }
        T most = largest[0];
        for (int j = 1; j < 8; ++j) most = largest[j] > most ? largest[j] : most;
#pragma omp simd
        for (Int j = 0; j < tokens; ++j) a[j] = exponential(a[j] - most);
        Vector total = load(a) * load(f);
        for (Int j = 8; j < tokens; j += 8) total += load(a + j) * load(f + j);
        const T inverse = T(1) / sum_of<T>(total);
        for (Int j = 0; j < tokens; j += 8) store(a + j, inverse * load(a + j));
        for (Int j = width; j < tokens; ++j) a[j] = T(0);
    }
}

// Hands out parts of the scratch space.
template <typename T> struct Space {
    T* next;
    T* take(Int n) {
        T* part = next;
        next += n;
        return part;
    }
};

template <typename T, int DIM> struct Head {
    Place<DIM> place;
    Int tokens, d;
    T *f, *q, *k, *v, *keys, *a;

    // The weights of the keys of an atom.
    Head(const Tokens& t, const T* factors, Int atom, Space<T>& space) {
        const Int width = t.counts[atom] + 1;
        place = {width, t.head_dim, atom, t.n_atoms + t.first[atom]};
        const Int padded = place.padded();
        tokens = padded_to(width);
        d = t.heads * place.dim();
        f = space.take(tokens);
        q = space.take(width * padded);
        k = space.take(width * padded);
        v = space.take(width * padded);
        keys = space.take(padded * tokens);
        a = space.take(width * tokens);
        f[0] = T(1);
        for (Int j = 1; j < width; ++j) f[j] = factors[t.first[atom] + j - 1];
        for (Int j = width; j < tokens; ++j) f[j] = T(0);
    }

    void look(const Tokens& t, const T* qkv, Int column) {
        gather(place, qkv, 3 * d, column, q);
        gather(place, qkv, 3 * d, column + d, k);
        gather(place, qkv, 3 * d, column + 2 * d, v);
        transpose(place, k, keys, tokens);
        multiply<T, false>(rows(q), keys, a, place.width, place.dim(), tokens, T(t.scale));
        normalize(a, f, place.width, tokens);
    }

    Matrix<T> rows(const T* of_tokens) const { return {of_tokens, place.padded(), 1}; }
    Matrix<T> square(const T* m) const { return {m, tokens, 1}; }
    Matrix<T> turned(const T* m) const { return {m, 1, tokens}; }
    // result (+)= factor m x, for a matrix between tokens and rows of tokens.
    void mix(const Matrix<T>& m, const T* x, T* result, T factor) const {
        multiply<T, false>(m, x, result, place.width, place.width, place.padded(), factor);
    }
    void mix_more(const Matrix<T>& m, const T* x, T* result, T factor) const {
        multiply<T, true>(m, x, result, place.width, place.width, place.padded(), factor);
    }
};

template <typename T, int DIM>
void attend(const Tokens& t, const T* qkv, const T* factors, T* out, T* work, Int begin, Int end) {
    for (Int atom = begin; atom < end; ++atom) {
        Space<T> space{work};
        Head<T, DIM> h(t, factors, atom, space);
        for (Int head = 0; head < t.heads; ++head) {
            h.look(t, qkv, head * h.place.dim());
            for (Int i = 0; i < h.place.width; ++i)
                for (Int j = 0; j < h.tokens; j += 8)
                    store(h.a + i * h.tokens + j, load(h.a + i * h.tokens + j) * load(h.f + j));
            h.mix(h.square(h.a), h.v, h.q, T(1));
            scatter(h.place, h.q, out, h.d, head * h.place.dim());
        }
    }
}

template <typename T, int DIM>
void attend_back(
    const Tokens& t, const T* qkv, const T* factors, const T* go, T* gqkv, T* gf, T* work, Int begin, Int end
) {
    using Vector = typename Eight<T>::Vector;
    for (Int atom = begin; atom < end; ++atom) {
        Space<T> space{work};
        Head<T, DIM> h(t, factors, atom, space);
        const Int width = h.place.width, tokens = h.tokens, d = h.d;
        T *sums = space.take(tokens), *g = space.take(width * h.place.padded()), *values = space.take(h.place.padded() * tokens);
        T *s = space.take(width * tokens), *result = space.take(width * h.place.padded());
        for (Int j = 0; j < tokens; ++j) sums[j] = T(0);
        for (Int head = 0; head < t.heads; ++head) {
            const Int column = head * h.place.dim();
            h.look(t, qkv, column);
            gather(h.place, go, d, column, g);
            transpose(h.place, h.v, values, tokens);
            multiply<T, false>(h.rows(g), values, s, width, h.place.dim(), tokens, T(1));
            for (Int i = 0; i < width; ++i) {
                T *a = h.a + i * tokens, *row = s + i * tokens;
                Vector means = load(a) * load(h.f) * load(row);
                for (Int j = 8; j < tokens; j += 8) means += load(a + j) * load(h.f + j) * load(row + j);
                const T mean = sum_of<T>(means);
                for (Int j = 0; j < tokens; j += 8) {
                    const Vector f = load(h.f + j), by_f = load(a + j) * (load(row + j) - mean);
                    store(sums + j, load(sums + j) + by_f);
                    store(a + j, load(a + j) * f);
                    store(row + j, by_f * f);
                }
            }
            h.mix(h.square(s), h.k, result, T(t.scale));
            scatter(h.place, result, gqkv, 3 * d, column);
            h.mix(h.turned(s), h.q, result, T(t.scale));
            scatter(h.place, result, gqkv, 3 * d, column + d);
            h.mix(h.turned(h.a), g, result, T(1));
            scatter(h.place, result, gqkv, 3 * d, column + 2 * d);
        }
        for (Int j = 1; j < width; ++j) gf[t.first[atom] + j - 1] = sums[j];
    }
}

template <typename T, int DIM>
void attend_twice(
    const Tokens& t, const T* qkv, const T* factors, const T* go, const T* cotangents, const T* of_gf, T* by_go,
    T* by_qkv, T* by_f, T* work, Int begin, Int end
) {
    using Vector = typename Eight<T>::Vector;
    const T scale = T(t.scale);
    for (Int atom = begin; atom < end; ++atom) {
        Space<T> space{work};
        Head<T, DIM> h(t, factors, atom, space);
        const Int width = h.place.width, tokens = h.tokens, d = h.d, dim = h.place.dim(), rows = width * h.place.padded();
        T *sums = space.take(tokens), *vf = space.take(tokens);
        T *g = space.take(rows), *vq = space.take(rows), *vk = space.take(rows), *vv = space.take(rows);
        T *result = space.take(rows), *turned = space.take(h.place.padded() * tokens);
        T *s = space.take(width * tokens), *m = space.take(width * tokens), *ds = space.take(width * tokens);
        for (Int j = 0; j < tokens; ++j) {
            sums[j] = T(0);
            vf[j] = j > 0 && j < width ? of_gf[t.first[atom] + j - 1] : T(0);
        }
        for (Int head = 0; head < t.heads; ++head) {
            const Int column = head * dim;
            h.look(t, qkv, column);
            gather(h.place, go, d, column, g);
            gather(h.place, cotangents, 3 * d, column, vq);
            gather(h.place, cotangents, 3 * d, column + d, vk);
            gather(h.place, cotangents, 3 * d, column + 2 * d, vv);
            // Gradient by P of <g, P v>; then those of the results of attend_back by their gradients.
            transpose(h.place, h.v, turned, tokens);
            multiply<T, false>(h.rows(g), turned, s, width, dim, tokens, T(1));
            multiply<T, false>(h.rows(vq), h.keys, m, width, dim, tokens, scale);
            transpose(h.place, vk, turned, tokens);
            multiply<T, true>(h.rows(h.q), turned, m, width, dim, tokens, scale);
            transpose(h.place, vv, turned, tokens);
            multiply<T, false>(h.rows(g), turned, ds, width, dim, tokens, T(1));
            for (Int i = 0; i < width; ++i) {
                T *a = h.a + i * tokens, *ga = s + i * tokens, *u = m + i * tokens, *w = ds + i * tokens;
                const T* f = h.f;
                Vector means{}, ys{}, ns{};
                for (Int j = 0; j < tokens; j += 8) {
                    const Vector aj = load(a + j), fj = load(f + j);
                    means += aj * fj * load(ga + j);
                    ys += aj * (load(u + j) * fj + load(vf + j));
                }
                const T mean = sum_of<T>(means), y = sum_of<T>(ys);
                for (Int j = 0; j < tokens; j += 8) {
                    const Vector fj = load(f + j), gj = load(ga + j);
                    const Vector of_a = load(u + j) * fj + load(vf + j), rest = load(w + j) - y * gj;
                    ns += load(a + j) * (of_a * (gj - mean) + fj * rest);
                }
                const T n = sum_of<T>(ns);
                for (Int j = 0; j < tokens; j += 8) {
                    const Vector aj = load(a + j), fj = load(f + j), uj = load(u + j), gj = load(ga + j);
                    const Vector deviation = gj - mean, of_a = uj * fj + load(vf + j), rest = load(w + j) - y * gj - n;
                    store(sums + j, load(sums + j) + aj * (uj * deviation + rest));
                    store(u + j, aj * (of_a - y * fj));
                    store(w + j, aj * (of_a * deviation + fj * rest));
                    store(a + j, aj * fj);
                    store(ga + j, aj * fj * deviation);
                }
            }
            h.mix(h.square(m), h.v, result, T(1));
            h.mix_more(h.square(h.a), vv, result, T(1));
            scatter(h.place, result, by_go, d, column);
            h.mix(h.square(ds), h.k, result, scale);
            h.mix_more(h.square(s), vk, result, scale);
            scatter(h.place, result, by_qkv, 3 * d, column);
            h.mix(h.turned(ds), h.q, result, scale);
            h.mix_more(h.turned(s), vq, result, scale);
            scatter(h.place, result, by_qkv, 3 * d, column + d);
            h.mix(h.turned(m), g, result, T(1));
            scatter(h.place, result, by_qkv, 3 * d, column + 2 * d);
        }
        for (Int j = 1; j < width; ++j) by_f[t.first[atom] + j - 1] = sums[j];
    }
}

// The size of the heads of a default network is known when this is compiled; others may be anything.
template <typename T>
void any_attend(const Tokens& t, const T* qkv, const T* f, T* out, T* work, Int begin, Int end) {
    (t.head_dim == 16 ? attend<T, 16> : attend<T, 0>)(t, qkv, f, out, work, begin, end);
}

template <typename T>
void any_attend_back(
    const Tokens& t, const T* qkv, const T* f, const T* go, T* gqkv, T* gf, T* work, Int begin, Int end
) {
    (t.head_dim == 16 ? attend_back<T, 16> : attend_back<T, 0>)(t, qkv, f, go, gqkv, gf, work, begin, end);
}

template <typename T>
void any_attend_twice(
    const Tokens& t, const T* qkv, const T* f, const T* go, const T* v, const T* vf, T* by_go, T* by_qkv, T* by_f,
    T* work, Int begin, Int end
) {
    const auto chosen = t.head_dim == 16 ? attend_twice<T, 16> : attend_twice<T, 0>;
    chosen(t, qkv, f, go, v, vf, by_go, by_qkv, by_f, work, begin, end);
}

template <typename T>
constexpr Kernels<T> kernels = {
    norm<T>, norm_back<T>, norm_twice<T>, center<T>, center_back<T>, center_twice<T>, glu<T>, glu_back<T>,
    glu_twice<T>, silu<T>, silu_back<T>, silu_twice<T>,
    any_attend<T>, any_attend_back<T>, any_attend_twice<T>,
};

}  // namespace

namespace MTT_INSTRUCTIONS {
const Kernels<float>& of(float) { return kernels<float>; }
const Kernels<double>& of(double) { return kernels<double>; }
}  // namespace MTT_INSTRUCTIONS

}  // namespace mtt::training
