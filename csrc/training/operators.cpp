// The kernels as operators of torch with two derivatives, for tensors on CPUs in float32 and float64.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <torch/types.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels.hpp"

namespace mtt::training {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Rows, and atoms, that are worth a thread; sums over rows are made of sums over so many, whatever the threads.
constexpr std::int64_t ROWS = 64, ATOMS = 8;

// The instruction sets that there are kernels for and that this processor has, the best one last.
std::vector<std::string> instruction_sets() {
    std::vector<std::string> names{"baseline"};
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
        && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl");
    if (avx2) names.push_back("avx2");
    if (avx2 && avx512) names.push_back("avx512");
#endif
    return names;
}

// The best one that torch uses as well: ATEN_CPU_CAPABILITY holds back both.
std::string first_choice() {
    const auto names = instruction_sets();
    const std::string of_torch = at::get_cpu_capability();
    if (of_torch == "DEFAULT") return "baseline";
    if (of_torch == "AVX2" && names.size() > 1) return "avx2";
    return names.back();
}

std::string& chosen() {
    static std::string name = first_choice();
    return name;
}

std::string chosen_name() { return chosen(); }

template <typename T>
const Kernels<T>& kernels() {
#if defined(__x86_64__)
    if (chosen() == "avx512") return avx512::of(T());
    if (chosen() == "avx2") return avx2::of(T());
#endif
    return baseline::of(T());
}

// For tests, which try them all.
void use_instructions(std::string name) {
    const auto names = instruction_sets();
    TORCH_CHECK(std::find(names.begin(), names.end(), name) != names.end(), "there are no kernels for ", name);
    chosen() = std::move(name);
}

void check(const Tensor& x) {
    TORCH_CHECK(x.device().is_cpu(), "kernels of the training step take tensors on the CPU, not on ", x.device());
    TORCH_CHECK(
        x.scalar_type() == torch::kFloat || x.scalar_type() == torch::kDouble,
        "kernels of the training step take float32 and float64, not ", x.scalar_type()
    );
    TORCH_CHECK(x.dim() > 0 && x.size(-1) > 0, "kernels of the training step take no empty rows");
}

void check_last() {
    TORCH_CHECK(!at::GradMode::is_enabled(), "kernels of the training step have no third derivatives");
}

// Contiguous, or zeros where autograd has nothing.
Tensor given(const Tensor& gradient, const Tensor& like) {
    return gradient.defined() ? gradient.contiguous() : torch::zeros_like(like);
}

template <typename F>
void by_rows(std::int64_t rows, const F& work) {
    at::parallel_for(0, (rows + ROWS - 1) / ROWS, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t block = begin; block < end; ++block)
            work(block, block * ROWS, std::min(rows, (block + 1) * ROWS) - block * ROWS);
    });
}

#define MTT_FLOATS(x, ...) AT_DISPATCH_FLOATING_TYPES((x).scalar_type(), "mtt_training", __VA_ARGS__)

// -------------------------------------------------------------------------------------------------------- norm
Tensor blocks_like(const Tensor& x, std::int64_t rows) {
    return torch::zeros({(rows + ROWS - 1) / ROWS, x.size(-1)}, x.options());
}

// Gradients by x and, if asked for, by w.
std::pair<Tensor, Tensor> norm_back(const Tensor& x, const Tensor& w, const Tensor& gy, double epsilon, bool weights) {
    const auto d = x.size(-1), rows = x.numel() / d;
    Tensor gx = torch::empty_like(x), gw;
    if (weights) gw = blocks_like(x, rows);
    MTT_FLOATS(x, [&] {
        by_rows(rows, [&](auto block, auto row, auto n) {
            kernels<scalar_t>().norm_back(
                x.const_data_ptr<scalar_t>() + row * d, w.const_data_ptr<scalar_t>(),
                gy.const_data_ptr<scalar_t>() + row * d, gx.data_ptr<scalar_t>() + row * d,
                weights ? gw.data_ptr<scalar_t>() + block * d : nullptr, n, d, scalar_t(epsilon)
            );
        });
    });
    return {gx, weights ? gw.sum(0) : gw};
}

// Gradients by x and, if asked for, by w and b.
std::tuple<Tensor, Tensor, Tensor> center_back(
    const Tensor& x, const Tensor& w, const Tensor& gy, double epsilon, bool weights
) {
    const auto d = x.size(-1), rows = x.numel() / d;
    Tensor gx = torch::empty_like(x), gw, gb;
    if (weights) gw = blocks_like(x, rows), gb = blocks_like(x, rows);
    MTT_FLOATS(x, [&] {
        by_rows(rows, [&](auto block, auto row, auto n) {
            kernels<scalar_t>().center_back(
                x.const_data_ptr<scalar_t>() + row * d, w.const_data_ptr<scalar_t>(),
                gy.const_data_ptr<scalar_t>() + row * d, gx.data_ptr<scalar_t>() + row * d,
                weights ? gw.data_ptr<scalar_t>() + block * d : nullptr,
                weights ? gb.data_ptr<scalar_t>() + block * d : nullptr, n, d, scalar_t(epsilon)
            );
        });
    });
    return {gx, weights ? gw.sum(0) : gw, weights ? gb.sum(0) : gb};
}

// The gradient by x of a norm, `centered` of the layer norm; both have the same form.
template <bool centered>
struct NormBack : Function<NormBack<centered>> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Tensor& gy, double epsilon) {
        ctx->save_for_backward({x, w, gy});
        ctx->saved_data["epsilon"] = epsilon;
        if constexpr (centered) return std::get<0>(center_back(x, w, gy, epsilon, false));
        else return norm_back(x, w, gy, epsilon, false).first;
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        check_last();
        const auto saved = ctx->get_saved_variables();
        const auto &x = saved[0], &w = saved[1], &gy = saved[2];
        const double epsilon = ctx->saved_data["epsilon"].toDouble();
        const Tensor v = given(gradients[0], x);
        const auto d = x.size(-1), rows = x.numel() / d;
        Tensor by_gy = torch::empty_like(x), by_x = torch::empty_like(x), gw = blocks_like(x, rows);
        MTT_FLOATS(x, [&] {
            by_rows(rows, [&](auto block, auto row, auto n) {
                const auto& own = kernels<scalar_t>();
                (centered ? own.center_twice : own.norm_twice)(
                    x.const_data_ptr<scalar_t>() + row * d, w.const_data_ptr<scalar_t>(),
                    gy.const_data_ptr<scalar_t>() + row * d, v.const_data_ptr<scalar_t>() + row * d,
                    by_gy.data_ptr<scalar_t>() + row * d, by_x.data_ptr<scalar_t>() + row * d,
                    gw.data_ptr<scalar_t>() + block * d, n, d, scalar_t(epsilon)
                );
            });
        });
        return {by_x, gw.sum(0), by_gy, Tensor()};
    }
};

struct Norm : Function<Norm> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, double epsilon) {
        ctx->save_for_backward({x, w});
        ctx->saved_data["epsilon"] = epsilon;
        const auto d = x.size(-1), rows = x.numel() / d;
        Tensor y = torch::empty_like(x);
        MTT_FLOATS(x, [&] {
            by_rows(rows, [&](auto, auto row, auto n) {
                kernels<scalar_t>().norm(
                    x.const_data_ptr<scalar_t>() + row * d, w.const_data_ptr<scalar_t>(),
                    y.data_ptr<scalar_t>() + row * d, n, d, scalar_t(epsilon)
                );
            });
        });
        return y;
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        const auto saved = ctx->get_saved_variables();
        const auto &x = saved[0], &w = saved[1];
        const double epsilon = ctx->saved_data["epsilon"].toDouble();
        const Tensor gy = given(gradients[0], x);
        const bool weights = ctx->needs_input_grad(1);
        if (!at::GradMode::is_enabled()) {
            auto [gx, gw] = norm_back(x, w, gy, epsilon, weights);
            return {gx, gw, Tensor()};
        }
        Tensor gw;
        if (weights) gw = (gy * x * (x * x).mean(-1, true).add(epsilon).rsqrt()).flatten(0, -2).sum(0);
        return {NormBack<false>::apply(x, w, gy, epsilon), gw, Tensor()};
    }
};

Tensor rms_norm(const Tensor& x, const Tensor& w, double epsilon) {
    check(x);
    TORCH_CHECK(
        w.device().is_cpu() && w.scalar_type() == x.scalar_type() && w.dim() == 1 && w.size(0) == x.size(-1),
        "a weight for each number of a row is expected"
    );
    return Norm::apply(x.contiguous(), w.contiguous(), epsilon);
}

// --------------------------------------------------------------------------------------------------- layer norm
struct Center : Function<Center> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Tensor& b, double epsilon) {
        ctx->save_for_backward({x, w});
        ctx->saved_data["epsilon"] = epsilon;
        const auto d = x.size(-1), rows = x.numel() / d;
        Tensor y = torch::empty_like(x);
        MTT_FLOATS(x, [&] {
            by_rows(rows, [&](auto, auto row, auto n) {
                kernels<scalar_t>().center(
                    x.const_data_ptr<scalar_t>() + row * d, w.const_data_ptr<scalar_t>(), b.const_data_ptr<scalar_t>(),
                    y.data_ptr<scalar_t>() + row * d, n, d, scalar_t(epsilon)
                );
            });
        });
        return y;
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        if (!gradients[0].defined()) return variable_list(4);
        const auto saved = ctx->get_saved_variables();
        const auto &x = saved[0], &w = saved[1];
        const double epsilon = ctx->saved_data["epsilon"].toDouble();
        const Tensor gy = given(gradients[0], x);
        const bool of_w = ctx->needs_input_grad(1), of_b = ctx->needs_input_grad(2);
        if (!at::GradMode::is_enabled()) {
            auto [gx, gw, gb] = center_back(x, w, gy, epsilon, of_w || of_b);
            return {gx, gw, gb, Tensor()};
        }
        Tensor gw, gb;
        if (of_w) {
            const Tensor centered = x - x.mean(-1, true);
            const Tensor r = (centered * centered).mean(-1, true).add(epsilon).rsqrt();
            gw = (gy * centered * r).flatten(0, -2).sum(0);
        }
        if (of_b) gb = gy.flatten(0, -2).sum(0);
        return {NormBack<true>::apply(x, w, gy, epsilon), gw, gb, Tensor()};
    }
};

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double epsilon) {
    check(x);
    for (const auto& each : {w, b})
        TORCH_CHECK(
            each.device().is_cpu() && each.scalar_type() == x.scalar_type() && each.dim() == 1
                && each.size(0) == x.size(-1),
            "a weight and a bias for each number of a row are expected"
        );
    return Center::apply(x.contiguous(), w.contiguous(), b.contiguous(), epsilon);
}

// -------------------------------------------------------------------------------------------------- activations
// Both have the same form; `gated` halves the rows.
template <bool gated>
struct ActivationBack : Function<ActivationBack<gated>> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& gy) {
        ctx->save_for_backward({x, gy});
        const auto d = gy.size(-1), rows = gy.numel() / d;
        Tensor gx = torch::empty_like(x);
        MTT_FLOATS(x, [&] {
            const auto& own = kernels<scalar_t>();
            const auto *px = x.const_data_ptr<scalar_t>(), *pg = gy.const_data_ptr<scalar_t>();
            auto* to = gx.data_ptr<scalar_t>();
            by_rows(rows, [&](auto, auto row, auto n) {
                if constexpr (gated) own.glu_back(px + 2 * row * d, pg + row * d, to + 2 * row * d, n, d);
                else own.silu_back(px + row * d, pg + row * d, to + row * d, n * d);
            });
        });
        return gx;
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        check_last();
        const auto saved = ctx->get_saved_variables();
        const auto &x = saved[0], &gy = saved[1];
        const Tensor v = given(gradients[0], x);
        const auto d = gy.size(-1), rows = gy.numel() / d;
        Tensor by_x = torch::empty_like(x), by_gy = torch::empty_like(gy);
        MTT_FLOATS(x, [&] {
            const auto& own = kernels<scalar_t>();
            const auto *px = x.const_data_ptr<scalar_t>(), *pg = gy.const_data_ptr<scalar_t>(),
                       *pv = v.const_data_ptr<scalar_t>();
            auto *to_gy = by_gy.data_ptr<scalar_t>(), *to_x = by_x.data_ptr<scalar_t>();
            by_rows(rows, [&](auto, auto row, auto n) {
                const auto at = row * d;
                if constexpr (gated)
                    own.glu_twice(px + 2 * at, pg + at, pv + 2 * at, to_gy + at, to_x + 2 * at, n, d);
                else own.silu_twice(px + at, pg + at, pv + at, to_gy + at, to_x + at, n * d);
            });
        });
        return {by_x, by_gy};
    }
};

template <bool gated>
struct Activation : Function<Activation<gated>> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x) {
        ctx->save_for_backward({x});
        auto sizes = x.sizes().vec();
        if (gated) sizes.back() /= 2;
        Tensor y = torch::empty(sizes, x.options());
        const auto d = y.size(-1), rows = y.numel() / d;
        MTT_FLOATS(x, [&] {
            const auto& own = kernels<scalar_t>();
            const auto* px = x.const_data_ptr<scalar_t>();
            auto* to = y.data_ptr<scalar_t>();
            by_rows(rows, [&](auto, auto row, auto n) {
                if constexpr (gated) own.glu(px + 2 * row * d, to + row * d, n, d);
                else own.silu(px + row * d, to + row * d, n * d);
            });
        });
        return y;
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        const auto saved = ctx->get_saved_variables();
        if (!gradients[0].defined()) return {Tensor()};
        return {ActivationBack<gated>::apply(saved[0], gradients[0].contiguous())};
    }
};

Tensor glu(const Tensor& x) {
    check(x);
    TORCH_CHECK(x.size(-1) % 2 == 0, "the last dimension must be even, not ", x.size(-1));
    return Activation<true>::apply(x.contiguous());
}

Tensor silu(const Tensor& x) {
    check(x);
    return Activation<false>::apply(x.contiguous());
}

// ------------------------------------------------------------------------------------------------------- linear
using OneDnn = Tensor(
    const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
    c10::List<std::optional<c10::Scalar>>, std::optional<std::string_view>
);

// Torch's other library for products, oneDNN, by the operator that torch's compiler calls it with; if torch has it.
const std::optional<c10::TypedOperatorHandle<OneDnn>>& one_dnn() {
    static const auto found = []() -> std::optional<c10::TypedOperatorHandle<OneDnn>> {
        auto handle = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
        if (!handle || !handle->hasKernelForDispatchKey(c10::DispatchKey::CPU)) return std::nullopt;
        try {
            return handle->typed<OneDnn>();
        } catch (const c10::Error&) {
            return std::nullopt;  // Another version of torch, with other arguments.
        }
    }();
    return found;
}

// On processors of AMD with AVX-512 it is faster than MKL, which torch takes, on those without it slower. On others this
// has not been measured.
bool& wanted() {
#if defined(__x86_64__)
    static bool faster = __builtin_cpu_is("amd") && first_choice() == "avx512";
#else
    static bool faster = false;
#endif
    return faster;
}

// For tests: returns what it was.
bool use_one_dnn(bool use) { return std::exchange(wanted(), use); }

// Below that, a call costs more than the product.
constexpr std::int64_t LEAST_COLUMNS = 16;

// x w^T + bias; without a bias if that is none.
Tensor product(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias) {
    return one_dnn()->call(x, w, bias, "none", c10::List<std::optional<c10::Scalar>>(), std::nullopt);
}

struct LinearBack : Function<LinearBack> {
    static Tensor forward(AutogradContext* ctx, const Tensor& w, const Tensor& gy) {
        ctx->save_for_backward({w, gy});
        return product(gy, w.t(), std::nullopt);
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        check_last();
        if (!gradients[0].defined()) return variable_list(2);
        const auto saved = ctx->get_saved_variables();
        const auto &w = saved[0], &gy = saved[1];
        const Tensor v = gradients[0].contiguous();
        Tensor by_w, by_gy;
        if (ctx->needs_input_grad(0)) by_w = gy.t().mm(v);
        if (ctx->needs_input_grad(1)) by_gy = product(v, w, std::nullopt);
        return {by_w, by_gy};
    }
};

struct Linear : Function<Linear> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Tensor& bias) {
        ctx->save_for_backward({x, w});
        return product(x, w, bias);
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        if (!gradients[0].defined()) return variable_list(3);
        const auto saved = ctx->get_saved_variables();
        const auto &x = saved[0], &w = saved[1];
        const Tensor gy = gradients[0].contiguous();
        Tensor gx, gw, gb;
        const bool differentiable = at::GradMode::is_enabled();
        if (ctx->needs_input_grad(0))
            gx = differentiable ? LinearBack::apply(w, gy) : product(gy, w.t(), std::nullopt);
        if (ctx->needs_input_grad(1)) gw = gy.t().mm(x);
        if (ctx->needs_input_grad(2)) gb = gy.sum(0);
        return {gx, gw, gb};
    }
};

// torch's own where there is no oneDNN, where it has no such numbers, or nothing is gained.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
    const bool suits = x.dim() == 2 && w.dim() == 2 && bias.dim() == 1 && x.numel() > 0 && x.size(1) == w.size(1)
        && w.size(0) == bias.size(0) && std::min(w.size(0), w.size(1)) >= LEAST_COLUMNS
        && x.scalar_type() == torch::kFloat && w.scalar_type() == torch::kFloat && bias.scalar_type() == torch::kFloat
        && x.device().is_cpu() && w.device().is_cpu() && bias.device().is_cpu();
    if (!wanted() || !suits || !one_dnn()) return at::linear(x, w, bias);
    return Linear::apply(x.contiguous(), w.contiguous(), bias.contiguous());
}

// ---------------------------------------------------------------------------------------------------- attention
struct Place {
    Tensor first, counts;
    std::int64_t width;
    Tokens tokens;
};

Place place_of(AutogradContext* ctx, const Tensor& first, const Tensor& counts) {
    const auto& data = ctx->saved_data;
    return {
        first, counts, data.at("width").toInt(),
        Tokens{
            counts.numel(), first.const_data_ptr<std::int64_t>(), counts.const_data_ptr<std::int64_t>(),
            data.at("heads").toInt(), data.at("head_dim").toInt(), data.at("scale").toDouble()
        }
    };
}

void keep_place(AutogradContext* ctx, std::int64_t width, std::int64_t heads, std::int64_t head_dim, double scale) {
    ctx->saved_data["width"] = width;
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["head_dim"] = head_dim;
    ctx->saved_data["scale"] = scale;
}

template <typename T, typename F>
void by_atoms(const Place& place, const F& work) {
    at::parallel_for(0, place.tokens.n_atoms, ATOMS, [&](std::int64_t begin, std::int64_t end) {
        std::vector<T> space(scratch(place.width, place.tokens.head_dim));
        work(space.data(), begin, end);
    });
}

struct AttentionBack : Function<AttentionBack> {
    static variable_list forward(
        AutogradContext* ctx, const Tensor& qkv, const Tensor& factors, const Tensor& go, const Tensor& first,
        const Tensor& counts, std::int64_t width, std::int64_t heads, double scale
    ) {
        keep_place(ctx, width, heads, go.size(1) / heads, scale);
        ctx->save_for_backward({qkv, factors, go, first, counts});
        const Place place = place_of(ctx, first, counts);
        Tensor gqkv = torch::empty_like(qkv), gf = torch::empty_like(factors);
        MTT_FLOATS(qkv, [&] {
            by_atoms<scalar_t>(place, [&](auto* space, auto begin, auto end) {
                kernels<scalar_t>().attend_back(
                    place.tokens, qkv.const_data_ptr<scalar_t>(), factors.const_data_ptr<scalar_t>(),
                    go.const_data_ptr<scalar_t>(), gqkv.data_ptr<scalar_t>(), gf.data_ptr<scalar_t>(), space, begin, end
                );
            });
        });
        return {gqkv, gf};
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        check_last();
        const auto saved = ctx->get_saved_variables();
        const auto &qkv = saved[0], &factors = saved[1], &go = saved[2];
        const Place place = place_of(ctx, saved[3], saved[4]);
        const Tensor v = given(gradients[0], qkv), vf = given(gradients[1], factors);
        Tensor by_qkv = torch::empty_like(qkv), by_f = torch::empty_like(factors), by_go = torch::empty_like(go);
        MTT_FLOATS(qkv, [&] {
            by_atoms<scalar_t>(place, [&](auto* space, auto begin, auto end) {
                kernels<scalar_t>().attend_twice(
                    place.tokens, qkv.const_data_ptr<scalar_t>(), factors.const_data_ptr<scalar_t>(),
                    go.const_data_ptr<scalar_t>(), v.const_data_ptr<scalar_t>(), vf.const_data_ptr<scalar_t>(),
                    by_go.data_ptr<scalar_t>(), by_qkv.data_ptr<scalar_t>(), by_f.data_ptr<scalar_t>(), space, begin, end
                );
            });
        });
        return {by_qkv, by_f, by_go, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

struct Attention : Function<Attention> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& qkv, const Tensor& factors, const Tensor& first, const Tensor& counts,
        std::int64_t width, std::int64_t heads, double scale
    ) {
        const auto d = qkv.size(1) / 3;
        keep_place(ctx, width, heads, d / heads, scale);
        ctx->save_for_backward({qkv, factors, first, counts});
        const Place place = place_of(ctx, first, counts);
        Tensor out = torch::empty({qkv.size(0), d}, qkv.options());
        MTT_FLOATS(qkv, [&] {
            by_atoms<scalar_t>(place, [&](auto* space, auto begin, auto end) {
                kernels<scalar_t>().attend(
                    place.tokens, qkv.const_data_ptr<scalar_t>(), factors.const_data_ptr<scalar_t>(),
                    out.data_ptr<scalar_t>(), space, begin, end
                );
            });
        });
        return out;
    }
    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        const auto saved = ctx->get_saved_variables();
        const auto& data = ctx->saved_data;
        if (!gradients[0].defined()) return variable_list(7);
        auto both = AttentionBack::apply(
            saved[0], saved[1], gradients[0].contiguous(), saved[2], saved[3], data.at("width").toInt(),
            data.at("heads").toInt(), data.at("scale").toDouble()
        );
        return {both[0], both[1], Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

// The kernels write to where these say, and leave out nothing only if every edge belongs to one atom.
void check_places(const Tensor& first, const Tensor& counts, std::int64_t width, std::int64_t n_edges) {
    for (const auto& places : {first, counts})
        TORCH_CHECK(
            places.device().is_cpu() && places.scalar_type() == torch::kLong && places.dim() == 1
                && places.size(0) == counts.size(0),
            "a place of edges and a number of edges is expected for each atom"
        );
    const auto of_first = first.accessor<std::int64_t, 1>(), of_counts = counts.accessor<std::int64_t, 1>();
    std::int64_t n = 0;
    for (std::int64_t atom = 0; atom < counts.size(0); ++atom) {
        TORCH_CHECK(of_first[atom] == n, "edges are not sorted by their atoms: see atom ", atom);
        TORCH_CHECK(0 <= of_counts[atom] && of_counts[atom] < width, "atom ", atom, " has more edges than width says");
        n += of_counts[atom];
    }
    TORCH_CHECK(n == n_edges, "atoms have ", n, " edges, but there are ", n_edges);
}

Tensor attention(
    const Tensor& qkv, const Tensor& factors, const Tensor& first, const Tensor& counts, std::int64_t width,
    std::int64_t heads, double scale
) {
    check(qkv);
    const auto n_atoms = counts.numel();
    TORCH_CHECK(qkv.dim() == 2 && heads > 0 && qkv.size(1) % (3 * heads) == 0, "wrong shape of qkv");
    TORCH_CHECK(
        factors.device().is_cpu() && factors.dim() == 1 && factors.scalar_type() == qkv.scalar_type(), "wrong factors"
    );
    TORCH_CHECK(qkv.size(0) == n_atoms + factors.numel(), "a token for each atom and each edge is expected");
    check_places(first, counts, width, factors.numel());
    return Attention::apply(
        qkv.contiguous(), factors.contiguous(), first.contiguous(), counts.contiguous(), width, heads, scale
    );
}

}  // namespace

TORCH_LIBRARY(mtt_training, library) {
    library.def("instruction_sets() -> str[]", &instruction_sets);
    library.def("instructions() -> str", &chosen_name);
    library.def("use_instructions(str name) -> ()", &use_instructions);
    library.def("rms_norm(Tensor x, Tensor weight, float epsilon) -> Tensor", &rms_norm);
    library.def("use_one_dnn(bool use) -> bool", &use_one_dnn);
    library.def("linear(Tensor x, Tensor weight, Tensor bias) -> Tensor", &linear);
    library.def("layer_norm(Tensor x, Tensor weight, Tensor bias, float epsilon) -> Tensor", &layer_norm);
    library.def("glu(Tensor x) -> Tensor", &glu);
    library.def("silu(Tensor x) -> Tensor", &silu);
    library.def(
        "attention(Tensor qkv, Tensor factors, Tensor first, Tensor counts, int width, int heads, float scale) -> Tensor",
        &attention
    );
}

}  // namespace mtt::training
