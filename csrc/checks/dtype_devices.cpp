// DTYPE: Module::to, which every engine calls, and the GPU where there is one.
#include <algorithm>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

bool declares_cuda(const Capabilities& capabilities) {
    const auto& devices = capabilities.devices;
    return std::find(devices.begin(), devices.end(), "cuda") != devices.end();
}

Result moves(Context& context) {
    const std::string name = "module moves";
    const auto instance = context.fresh();
    const auto& system = context.systems().front();
    const auto before = evaluate(*instance, system);
    instance->move_again();
    const auto left = instance->left_on_cpu();
    if (declares_cuda(context.capabilities()) && !left.empty()) {
        return failed(name, "attribute '" + left.front() + "' holds tensors in a container, which Module::to does not move: "
                      "on a GPU, which the model declares to support, calls stop");
    }
    Comparison comparison;
    comparison.properties(
        evaluate(*instance, system), before,
        budget(Agreement::repeat, context.capabilities(), system, before, summation_roundings(system.size())), system.name
    );
    return judged(name, comparison, "", "a model that has been moved gives other results");
}

Result on_gpu(Context& context) {
    const std::string name = "CUDA";
    if (!declares_cuda(context.capabilities())) {
        return skipped(name, "the model does not declare CUDA");
    }
    if (!context.host().has_cuda()) {
        return skipped(name, "there is no CUDA device here");
    }
    const auto instance = context.model().on_device("cuda");
    if (instance == nullptr) {
        return skipped(name, "the model can not be loaded for another device");
    }
    Comparison comparison;
    for (const auto& system : context.systems()) {
        const auto reference = evaluate(context.model(), system);
        const auto limit = budget(
            Agreement::parity, context.capabilities(), system, reference, summation_roundings(system.size())
        );
        for (int call = 0; call < 3; ++call) {
            comparison.properties(evaluate(*instance, system), reference, limit, system.name);
        }
    }
    return judged(name, comparison, "", "the GPU gives other results than the CPU");
}

std::vector<Result> run(Context& context) {
    return {
        guarded("module moves", [&] { return moves(context); }),
        guarded("CUDA", [&] { return on_gpu(context); }),
    };
}

const Registered check({
    "DTYPE", "devices", "Module::to takes every tensor along; CPU and GPU agree, where there is a GPU.",
    "'repeat', and 'parity' between CPU and GPU",
    {"module moves", "CUDA"}, run,
});

}  // namespace

}  // namespace mtt
