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
    for (; i + 4 <= rows; i += 4)
        block<T, 4, EIGHTS, ADD>(a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row, c_row, inner, factor);
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

// The tokens of one atom in rows of `stride` numbers, from `column` on.
struct Place {
    Int width, dim, padded;
    Int own, edges;
};

template <typename T> void gather(const Place& p, const T* from, Int stride, Int column, T* to) {
    for (Int i = 0; i < p.width; ++i) {
        const T* row = from + (i == 0 ? p.own : p.edges + i - 1) * stride + column;
        for (Int k = 0; k < p.dim; ++k) to[i * p.padded + k] = row[k];
        for (Int k = p.dim; k < p.padded; ++k) to[i * p.padded + k] = T(0);
    }
}

template <typename T> void scatter(const Place& p, const T* from, T* to, Int stride, Int column) {
    for (Int i = 0; i < p.width; ++i) {
        T* row = to + (i == 0 ? p.own : p.edges + i - 1) * stride + column;
        for (Int k = 0; k < p.dim; ++k) row[k] = from[i * p.padded + k];
    }
}

template <typename T> void transpose(const Place& p, const T* from, T* to, Int tokens) {
    for (Int k = 0; k < p.dim; ++k) {
        for (Int i = 0; i < p.width; ++i) to[k * tokens + i] = from[i * p.padded + k];
        for (Int i = p.width; i < tokens; ++i) to[k * tokens + i] = T(0);
    }
}

// Turn scores into A: exponentials over their sum weighted by f, zero from `width` on.
template <typename T> void normalize(T* a, const T* f, Int width, Int tokens) {
    for (Int i = 0; i < width; ++i, a += tokens) {
        T most = a[0], total = 0;
        for (Int j = 1; j < width; ++j) most = a[j] > most ? a[j] : most;
#pragma omp simd reduction(+ : total)
        for (Int j = 0; j < tokens; ++j) {
            a[j] = exponential(a[j] - most);
            total += a[j] * f[j];
        }
        const T inverse = T(1) / total;
#pragma omp simd
        for (Int j = 0; j < tokens; ++j) a[j] *= inverse;
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

template <typename T> struct Head {
    Place place;
    Int tokens, d;
    T *f, *q, *k, *v, *keys, *a;

    // The weights of the keys of an atom.
    Head(const Tokens& t, const T* factors, Int atom, Space<T>& space) {
        const Int width = t.counts[atom] + 1, dim = t.head_dim, padded = padded_to(dim);
        place = {width, dim, padded, atom, t.n_atoms + t.first[atom]};
        tokens = padded_to(width);
        d = t.heads * dim;
        f = space.take(tokens);
        q = space.take(width * padded);
        k = space.take(width * padded);
        v = space.take(width * padded);
        keys = space.take(dim * tokens);
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
        multiply<T, false>(rows(q), keys, a, place.width, place.dim, tokens, T(t.scale));
        normalize(a, f, place.width, tokens);
    }

    Matrix<T> rows(const T* of_tokens) const { return {of_tokens, place.padded, 1}; }
    Matrix<T> square(const T* m) const { return {m, tokens, 1}; }
    Matrix<T> turned(const T* m) const { return {m, 1, tokens}; }
    // result (+)= factor m x, for a matrix between tokens and rows of tokens.
    void mix(const Matrix<T>& m, const T* x, T* result, T factor) const {
        multiply<T, false>(m, x, result, place.width, place.width, place.padded, factor);
    }
    void mix_more(const Matrix<T>& m, const T* x, T* result, T factor) const {
        multiply<T, true>(m, x, result, place.width, place.width, place.padded, factor);
    }
};

template <typename T>
void attend(const Tokens& t, const T* qkv, const T* factors, T* out, T* work, Int begin, Int end) {
    for (Int atom = begin; atom < end; ++atom) {
        Space<T> space{work};
        Head<T> h(t, factors, atom, space);
        for (Int head = 0; head < t.heads; ++head) {
            h.look(t, qkv, head * t.head_dim);
            for (Int i = 0; i < h.place.width; ++i)
#pragma omp simd
                for (Int j = 0; j < h.tokens; ++j) h.a[i * h.tokens + j] *= h.f[j];
            h.mix(h.square(h.a), h.v, h.q, T(1));
            scatter(h.place, h.q, out, h.d, head * t.head_dim);
        }
    }
}

template <typename T>
void attend_back(
    const Tokens& t, const T* qkv, const T* factors, const T* go, T* gqkv, T* gf, T* work, Int begin, Int end
) {
    for (Int atom = begin; atom < end; ++atom) {
        Space<T> space{work};
        Head<T> h(t, factors, atom, space);
        const Int width = h.place.width, tokens = h.tokens, d = h.d;
        T *sums = space.take(tokens), *g = space.take(width * h.place.padded), *values = space.take(t.head_dim * tokens);
        T *s = space.take(width * tokens), *result = space.take(width * h.place.padded);
        for (Int j = 0; j < tokens; ++j) sums[j] = T(0);
        for (Int head = 0; head < t.heads; ++head) {
            const Int column = head * t.head_dim;
            h.look(t, qkv, column);
            gather(h.place, go, d, column, g);
            transpose(h.place, h.v, values, tokens);
            multiply<T, false>(h.rows(g), values, s, width, t.head_dim, tokens, T(1));
            for (Int i = 0; i < width; ++i) {
                T *a = h.a + i * tokens, *row = s + i * tokens;
                T mean = 0;
#pragma omp simd reduction(+ : mean)
                for (Int j = 0; j < tokens; ++j) mean += a[j] * h.f[j] * row[j];
#pragma omp simd
                for (Int j = 0; j < tokens; ++j) {
                    const T by_f = a[j] * (row[j] - mean);
                    sums[j] += by_f;
                    a[j] *= h.f[j];
                    row[j] = by_f * h.f[j];
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

template <typename T>
void attend_twice(
    const Tokens& t, const T* qkv, const T* factors, const T* go, const T* cotangents, const T* of_gf, T* by_go,
    T* by_qkv, T* by_f, T* work, Int begin, Int end
) {
    const T scale = T(t.scale);
    for (Int atom = begin; atom < end; ++atom) {
        Space<T> space{work};
        Head<T> h(t, factors, atom, space);
        const Int width = h.place.width, tokens = h.tokens, d = h.d, dim = t.head_dim, rows = width * h.place.padded;
        T *sums = space.take(tokens), *vf = space.take(tokens);
        T *g = space.take(rows), *vq = space.take(rows), *vk = space.take(rows), *vv = space.take(rows);
        T *result = space.take(rows), *turned = space.take(dim * tokens);
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
                T mean = 0, y = 0, n = 0;
#pragma omp simd reduction(+ : mean, y)
                for (Int j = 0; j < tokens; ++j) {
                    mean += a[j] * f[j] * ga[j];
                    y += a[j] * (u[j] * f[j] + vf[j]);
                }
#pragma omp simd reduction(+ : n)
                for (Int j = 0; j < tokens; ++j)
                    n += a[j] * ((u[j] * f[j] + vf[j]) * (ga[j] - mean) + f[j] * (w[j] - y * ga[j]));
#pragma omp simd
                for (Int j = 0; j < tokens; ++j) {
                    const T deviation = ga[j] - mean, of_a = u[j] * f[j] + vf[j], rest = w[j] - y * ga[j];
                    sums[j] += a[j] * (u[j] * deviation + rest - n);
                    u[j] = a[j] * (of_a - y * f[j]);
                    w[j] = a[j] * (of_a * deviation + f[j] * (rest - n));
                    a[j] *= f[j];
                    ga[j] = a[j] * deviation;
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

template <typename T>
constexpr Kernels<T> kernels = {
    norm<T>, norm_back<T>, norm_twice<T>, glu<T>, glu_back<T>, glu_twice<T>, silu<T>, silu_back<T>, silu_twice<T>,
    attend<T>, attend_back<T>, attend_twice<T>,
};

}  // namespace

namespace MTT_INSTRUCTIONS {
const Kernels<float>& of(float) { return kernels<float>; }
const Kernels<double>& of(double) { return kernels<double>; }
}  // namespace MTT_INSTRUCTIONS

}  // namespace mtt::training
