#include "mtt/model/predictor.hpp"

#include <torch/script.h>

#include <metatensor/torch.hpp>
#include <metatomic/torch.hpp>

#include <limits>

#include "mtt/model/inputs.hpp"
#include "mtt/model/loading.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

namespace {

using torch::Tensor;

std::vector<double> flat(const Tensor& tensor) {
    const auto source = tensor.detach().to(torch::kCPU, torch::kFloat64).contiguous();
    return {source.data_ptr<double>(), source.data_ptr<double>() + source.numel()};
}

class TorchPredictor final : public Predictor {
public:
    TorchPredictor(const Archive& archive, const std::optional<std::string>& extensions, bool widened);
    [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
    std::vector<Prediction> predict(const std::vector<System>& systems, const std::vector<Wanted>& wanted) override;

private:
    void read_capabilities();
    void widen();
    [[nodiscard]] Tensor ordered_rows(const torch::IValue& map, const Wanted& wanted,
                                      const std::vector<System>& systems) const;
    [[nodiscard]] static Tensor ordered_block(const metatensor_torch::TensorBlock& block, const Wanted& wanted,
                                              const std::vector<System>& systems);

    metatensor_torch::Module module_;
    Capabilities capabilities_;
    std::vector<metatomic_torch::NeighborListOptions> lists_;
    std::vector<NeighborRequest> requests_;
    torch::Dtype dtype_ = torch::kFloat64;
    bool check_ = true;
};

TorchPredictor::TorchPredictor(const Archive& archive, const std::optional<std::string>& extensions, bool widened):
    module_(load_module(archive, extensions)) {
    read_capabilities();
    for (const auto& item : module_.run_method("requested_neighbor_lists").toList()) {
        const auto list = item.get().toCustomClass<metatomic_torch::NeighborListOptionsHolder>();
        lists_.push_back(list);
        requests_.push_back({list->engine_cutoff(capabilities_.length_unit), list->full_list(), list->strict()});
    }
    if (widened) {
        widen();
    }
}

void TorchPredictor::read_capabilities() {
    const auto declared = module_.run_method("capabilities").toCustomClass<metatomic_torch::ModelCapabilitiesHolder>();
    auto& out = capabilities_;
    out.atomic_types = declared->atomic_types;
    out.length_unit = declared->length_unit();
    out.dtype = declared->dtype();
    for (const auto& item : declared->outputs()) {
        out.outputs.push_back(
            {item.key(), item.value()->unit(), item.value()->sample_kind(), item.value()->description}
        );
    }
    dtype_ = out.dtype == "float32" ? torch::kFloat32 : torch::kFloat64;
    // Files of older versions of metatomic have no such method, or one without this argument.
    const auto method = module_.find_method("requested_inputs");
    if (method) {
        std::vector<torch::IValue> arguments;
        if (method->function().getSchema().arguments().size() > 1) {
            arguments.emplace_back(/*use_new_names=*/true);
        }
        for (const auto& item : (*method)(std::move(arguments)).toGenericDict()) {
            const auto input = item.value().toCustomClass<metatomic_torch::ModelOutputHolder>();
            out.requested_inputs.push_back({item.key().toStringRef(), input->unit(), input->sample_kind(), ""});
        }
    }
}

void TorchPredictor::widen() {
    // Module::to would turn integers into floating-point numbers as well.
    const auto turn = [](Tensor tensor) {
        if (tensor.scalar_type() == torch::kFloat32) {
            tensor.set_data(tensor.to(torch::kFloat64));
        }
    };
    for (const auto& parameter : module_.parameters()) {
        turn(parameter);
    }
    for (const auto& buffer : module_.buffers()) {
        turn(buffer);
    }
    dtype_ = torch::kFloat64;
    check_ = false;  // metatomic compares what it gets with the dtype that the file declares
}

/// Rows in the order of systems and atoms: models may list samples in any order, or leave some out. Blocks are side by side,
/// and in each of them the properties of the first component come first.
Tensor TorchPredictor::ordered_rows(
    const torch::IValue& map, const Wanted& wanted, const std::vector<System>& systems
) const {
    const auto blocks = map.toCustomClass<metatensor_torch::TensorMapHolder>();
    std::vector<Tensor> columns;
    for (int64_t k = 0; k < blocks->keys()->count(); ++k) {
        columns.push_back(ordered_block(metatensor_torch::TensorMapHolder::block_by_id(blocks, k), wanted, systems));
    }
    return columns.size() == 1 ? columns[0] : torch::cat(columns, 1);
}

Tensor TorchPredictor::ordered_block(
    const metatensor_torch::TensorBlock& block, const Wanted& wanted, const std::vector<System>& systems
) {
    const auto values = block->values().flatten(1);
    const auto samples = block->samples()->values().to(torch::kCPU, torch::kInt64);
    if (block->samples()->names() != (wanted.per_atom ? std::vector<std::string>{"system", "atom"}
                                                      : std::vector<std::string>{"system"})) {
        throw EngineError("rows of the output '" + wanted.name + "' are not labeled as they were asked for");
    }
    auto place = samples.select(1, 0);
    auto total = int64_t(systems.size());
    if (wanted.per_atom) {
        std::vector<int64_t> first;
        total = 0;
        for (const auto& system : systems) {
            first.push_back(total);
            total += int64_t(system.size());
        }
        place = torch::tensor(first, torch::kInt64).index_select(0, place) + samples.select(1, 1);
    }
    const auto empty = torch::full({total, values.size(1)}, std::numeric_limits<double>::quiet_NaN(), values.options());
    return empty.index_copy(0, place, values);
}

std::vector<Prediction> TorchPredictor::predict(const std::vector<System>& systems, const std::vector<Wanted>& wanted) {
    Call call;
    call.systems = systems;
    call.leaf_in_model_dtype = true;
    const Placement place{dtype_, torch::kCPU};
    InputGuard guard;
    std::vector<metatomic_torch::System> inputs;
    std::vector<Tensor> leaves;
    std::vector<Tensor> strains;
    for (size_t k = 0; k < systems.size(); ++k) {
        auto prepared = prepare(call, k, 1.0, place, guard);
        add_neighbors(call, k, 1.0, place, requests_, lists_, prepared, guard);
        add_requested_inputs(call, k, place, capabilities_.requested_inputs, prepared, guard);
        inputs.push_back(prepared.system);
        leaves.push_back(prepared.leaf);
        strains.push_back(prepared.strain);
    }
    auto options = torch::make_intrusive<metatomic_torch::ModelEvaluationOptionsHolder>();
    options->set_length_unit(capabilities_.length_unit);
    size_t gradients = 0;
    for (const auto& item : wanted) {
        auto output = torch::make_intrusive<metatomic_torch::ModelOutputHolder>();
        for (const auto& declared : capabilities_.outputs) {
            if (declared.name == item.name) {
                output->set_unit(declared.unit);
            }
        }
        output->set_sample_kind(item.per_atom ? "atom" : "system");
        options->outputs.insert(item.name, output);
        gradients += item.gradients ? 1 : 0;
    }
    const auto result = module_.forward({inputs, options, check_}).toGenericDict();
    auto inputs_to_derive = leaves;
    inputs_to_derive.insert(inputs_to_derive.end(), strains.begin(), strains.end());
    std::vector<Prediction> out;
    for (const auto& item : wanted) {
        const auto rows = ordered_rows(result.at(item.name), item, systems);
        Prediction prediction;
        prediction.columns = uint64_t(rows.size(1));
        prediction.rows = flat(rows);
        if (item.gradients) {
            // Each backward pass but the last must leave the graph for the next one.
            const bool keep = --gradients > 0;
            std::vector<Tensor> derivatives(inputs_to_derive.size());
            if (rows.requires_grad()) {
                derivatives = torch::autograd::grad({rows.sum()}, inputs_to_derive, {}, keep, false, true);
            }
            for (size_t k = 0; k < derivatives.size(); ++k) {
                // Of a system in which nothing depends on positions.
                const auto values = flat(derivatives[k].defined() ? derivatives[k]
                                                                  : torch::zeros_like(inputs_to_derive[k]));
                auto& target = k < systems.size() ? prediction.forces : prediction.strain;
                for (const double value : values) {
                    target.push_back(k < systems.size() ? -value : value);
                }
            }
        }
        out.push_back(std::move(prediction));
    }
    return out;
}

}  // namespace

std::unique_ptr<Predictor> load_predictor(
    const std::shared_ptr<const Archive>& archive, const std::optional<std::string>& extensions,
    const std::vector<std::string>& allowed, bool widened
) {
    check_operators(archive, extensions, allowed);
    return std::make_unique<TorchPredictor>(*archive, extensions, widened);
}

}  // namespace mtt
