// The only file that knows how libtorch, metatensor and metatomic are called. The order of steps is that of
// LAMMPS' pair_style metatomic (see docs/concepts/verify.md), so that what passes here runs there.
#include <torch/csrc/jit/runtime/graph_iterator.h>
#include <torch/script.h>

#include <metatensor/torch.hpp>
#include <metatomic/torch.hpp>

#include <atomic>
#include <mutex>

#include "mtt/isolation/machine.hpp"
#include "mtt/model/inputs.hpp"
#include "mtt/model/loading.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/read_answer.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

namespace {

Mat3 to_matrix(const torch::Tensor& tensor) {
    const auto source = tensor.to(torch::kCPU, torch::kFloat64).contiguous();
    Mat3 out{};
    std::memcpy(out[0].data(), source.data_ptr<double>(), sizeof(Mat3));
    return out;
}

std::vector<Vec3> to_vectors(const torch::Tensor& tensor) {
    const auto source = tensor.to(torch::kCPU, torch::kFloat64).contiguous();
    std::vector<Vec3> out(size_t(source.size(0)));
    if (!out.empty()) {
        std::memcpy(out[0].data(), source.data_ptr<double>(), out.size() * sizeof(Vec3));
    }
    return out;
}

/// True if `value` holds a tensor that Module::to does not see: it looks at attributes, not into containers of tensors.
bool hides_tensor(const torch::IValue& value) {
    if (value.isTensor()) {
        return value.toTensor().defined() && value.toTensor().dim() > 0;
    }
    if (value.isList()) {
        const auto list = value.toList();
        return std::any_of(list.begin(), list.end(), [](const auto& item) { return hides_tensor(item.get()); });
    }
    if (value.isGenericDict()) {
        const auto dict = value.toGenericDict();
        return std::any_of(dict.begin(), dict.end(), [](const auto& item) { return hides_tensor(item.value()); });
    }
    if (value.isTuple()) {
        const auto& items = value.toTupleRef().elements();
        return std::any_of(items.begin(), items.end(), hides_tensor);
    }
    return false;
}

/// True for code with a tensor.to(device), of which the forms for dtypes only are no part.
bool moves_tensors(const torch::jit::Method& method) {
    auto graph = method.graph();
    torch::jit::DepthFirstGraphNodeIterator nodes(graph);
    for (const auto* node = nodes.next(); node != nullptr; node = nodes.next()) {
        if (node->kind() != c10::aten::to) {
            continue;
        }
        for (const auto* input : node->inputs().slice(1)) {
            const auto kind = input->type()->kind();
            if (kind == c10::TypeKind::DeviceObjType || kind == c10::TypeKind::TensorType ||
                kind == c10::TypeKind::OptionalType) {
                return true;
            }
        }
    }
    return false;
}

/// What LAMMPS' `fix metatomic` reads before its first step.
std::optional<double> timestep_of(const torch::jit::Module& module) {
    if (!module.hasattr("module") || !module.attr("module").isModule()) {
        return {};
    }
    const auto inner = module.attr("module").toModule();
    if (!inner.hasattr("timestep") || !inner.attr("timestep").isTensor() || inner.attr("timestep").toTensor().numel() != 1) {
        return {};
    }
    return inner.attr("timestep").toTensor().to(torch::kCPU, torch::kFloat64).item<double>();
}

/// Where atoms are after a step, and how they move: whoever asks for one asks for both, and models may count on that.
bool is_step(const std::string& output) {
    const auto quantity = quantity_of(output);
    return quantity == "position" || quantity == "momentum";
}

class TorchModel final : public Model {
public:
    TorchModel(
        std::shared_ptr<const Archive> archive, std::optional<std::string> extensions, AssumedUnits units,
        const std::string& device = "cpu"
    );

    [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
    [[nodiscard]] const std::vector<NeighborRequest>& requests() const override { return requests_; }
    Answer evaluate(const Call& call) override;
    std::vector<std::string> modules_in_training_mode() override;
    std::vector<std::string> warnings() override { return torch_warnings(); }
    std::unique_ptr<Model> widened() override;
    void disturb(uint64_t seed) override;
    void ask_for(const std::string& output) override;
    void move_again() override { module_.to(device_); }
    std::vector<std::string> left_on_cpu() override;
    std::unique_ptr<Model> on_device(const std::string& device) override {
        auto out = std::make_unique<TorchModel>(archive_, extensions_, units_, device);
        out->ask_for_the_same(*this);
        return out;
    }

private:
    void read_capabilities();
    void ask_for_the_same(const TorchModel& other) {
        if (!other.capabilities_.energy_output.empty()) {
            ask_for(other.capabilities_.energy_output);
        }
    }
    /// Parameters and buffers of that type.
    [[nodiscard]] std::vector<torch::Tensor> numbers(torch::Dtype dtype) const;
    [[nodiscard]] metatomic_torch::ModelEvaluationOptions options_for(const Call& call) const;
    [[nodiscard]] torch::Dtype dtype_of(const Call& call) const {
        return call.dtype.empty() ? dtype_ : (call.dtype == "float32" ? torch::kFloat32 : torch::kFloat64);
    }
    static void differentiate(
        const torch::Tensor& values, const std::vector<Prepared>& prepared, bool strain, Answer& answer
    );

    std::shared_ptr<const Archive> archive_;
    std::optional<std::string> extensions_;
    AssumedUnits units_;
    metatensor_torch::Module module_;
    metatomic_torch::ModelCapabilities declared_;
    std::vector<metatomic_torch::NeighborListOptions> lists_;
    Capabilities capabilities_;
    std::vector<NeighborRequest> requests_;
    torch::Dtype dtype_ = torch::kFloat64;
    torch::Device device_ = torch::kCPU;
    /// Outputs that are asked for together with the one in use.
    std::vector<std::string> companions_;
    /// Of a widened model: its numbers, and the values that the file holds.
    std::vector<std::pair<torch::Tensor, torch::Tensor>> exact_;
};

TorchModel::TorchModel(
    std::shared_ptr<const Archive> archive, std::optional<std::string> extensions, AssumedUnits units,
    const std::string& device
):
    archive_(std::move(archive)), extensions_(std::move(extensions)), units_(std::move(units)),
    module_(load_module(*archive_, extensions_)) {
    read_capabilities();
    device_ = metatomic_torch::pick_device(declared_->supported_devices, device);
    module_.to(device_);
    for (const auto& item : module_.run_method("requested_neighbor_lists").toList()) {
        const auto list = item.get().toCustomClass<metatomic_torch::NeighborListOptionsHolder>();
        lists_.push_back(list);
        requests_.push_back({list->engine_cutoff(capabilities_.length_unit), list->full_list(), list->strict()});
    }
    // LAMMPS asks for extra inputs on every step; exports from before metatomic 0.1.8 do not have the method.
    for (const auto& item : module_.run_method("requested_inputs", /*use_new_names=*/true).toGenericDict()) {
        const auto input = item.value().toCustomClass<metatomic_torch::ModelOutputHolder>();
        capabilities_.requested_inputs.push_back({item.key().toStringRef(), input->unit(), input->sample_kind(), ""});
    }
    capabilities_.timestep = timestep_of(module_);
}

void TorchModel::read_capabilities() {
    declared_ = module_.run_method("capabilities").toCustomClass<metatomic_torch::ModelCapabilitiesHolder>();
    auto& out = capabilities_;
    out.name = module_.run_method("metadata").toCustomClass<metatomic_torch::ModelMetadataHolder>()->name;
    out.atomic_types = declared_->atomic_types;
    out.interaction_range = declared_->interaction_range;
    out.length_unit = declared_->length_unit();
    out.dtype = declared_->dtype();
    out.devices = declared_->supported_devices;
    for (const auto& item : declared_->outputs()) {
        out.outputs.push_back(
            {item.key(), item.value()->unit(), item.value()->sample_kind(), item.value()->description}
        );
    }
    if (out.dtype == "float32") {
        dtype_ = torch::kFloat32;
    } else if (out.dtype != "float64") {
        throw EngineError("the model declares dtype '" + out.dtype + "'; engines know float32 and float64");
    }
    if (out.length_unit.empty() && !units_.length.empty()) {
        out.length_unit = units_.length;
        out.length_unit_assumed = true;
    }
    out.angstrom = out.length_unit.empty() ? 1.0 : unit_factor("angstrom", out.length_unit);
    const auto energy = first_energy(out.outputs);
    if (!energy.empty()) {
        ask_for(energy);
    }
}

void TorchModel::ask_for(const std::string& output) {
    auto& out = capabilities_;
    companions_.clear();
    for (const auto& other : distinct_outputs(out.outputs)) {
        if (is_step(output) && is_step(other.name) && other.name != current_name(output)) {
            companions_.push_back(other.name);
        }
    }
    const auto declared = declared_->outputs().at(output);
    out.energy_output = output;
    out.energy_unit = declared->unit();
    out.energy_kind = declared->sample_kind();
    out.energy_unit_assumed = out.energy_unit.empty() && !units_.energy.empty() && is_energy_like(output);
    if (out.energy_unit_assumed) {
        out.energy_unit = units_.energy;
    }
    try {
        out.electronvolt = out.energy_unit.empty() ? 1.0 : unit_factor("eV", out.energy_unit);
    } catch (const std::exception&) {
        out.electronvolt = 1.0;  // no energy, or one with a unit that is none, which the SCHEMA family reports
    }
}

std::vector<std::string> TorchModel::modules_in_training_mode() {
    std::vector<std::string> out;
    for (const auto& item : module_.named_modules()) {
        // The wrapper of metatomic itself (no name) is never switched to evaluation mode; it has nothing to switch.
        if (!item.name.empty() && item.value.hasattr("training") && item.value.attr("training").toBool()) {
            out.push_back(item.name);
        }
    }
    return out;
}

std::vector<torch::Tensor> TorchModel::numbers(torch::Dtype dtype) const {
    std::vector<torch::Tensor> out;
    const auto take = [&](const torch::Tensor& tensor) {
        // Module::to would turn integers into floating-point numbers as well.
        if (tensor.scalar_type() == dtype) {
            out.push_back(tensor);
        }
    };
    for (const auto& parameter : module_.parameters()) {
        take(parameter);
    }
    for (const auto& buffer : module_.buffers()) {
        take(buffer);
    }
    return out;
}

std::unique_ptr<Model> TorchModel::widened() {
    if (dtype_ != torch::kFloat32) {
        return nullptr;
    }
    auto wide = std::make_unique<TorchModel>(archive_, extensions_, units_);
    for (auto& tensor : wide->numbers(torch::kFloat32)) {
        auto exact = tensor.to(torch::kFloat64);
        tensor.set_data(exact);
        wide->exact_.emplace_back(tensor, exact);
    }
    wide->ask_for_the_same(*this);
    wide->dtype_ = torch::kFloat64;
    wide->capabilities_.dtype = "float64";
    return wide;
}

void TorchModel::disturb(uint64_t seed) {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    for (auto& [tensor, exact] : exact_) {
        tensor.set_data(exact * (1.0 + 0x1p-24 * (2.0 * torch::rand(exact.sizes(), generator, exact.options()) - 1.0)));
    }
}

std::vector<std::string> TorchModel::left_on_cpu() {
    std::vector<std::string> out;
    for (const auto& module : module_.named_modules()) {
        // Code that moves tensors by itself may well move this one.
        const auto methods = module.value.get_methods();
        const bool moves = std::any_of(methods.begin(), methods.end(), moves_tensors);
        for (const auto& attribute : module.value.named_attributes(/*recurse=*/false)) {
            if (!moves && !attribute.value.isTensor() && !attribute.value.isModule() &&
                hides_tensor(attribute.value)) {
                out.push_back(module.name.empty() ? attribute.name : module.name + "." + attribute.name);
            }
        }
    }
    return out;
}

metatomic_torch::ModelEvaluationOptions TorchModel::options_for(const Call& call) const {
    auto output = torch::make_intrusive<metatomic_torch::ModelOutputHolder>();
    output->set_unit(call.energy_unit.empty() ? capabilities_.energy_unit : call.energy_unit);
    output->set_sample_kind(call.kind == Kind::atom ? "atom" : "system");
    auto options = torch::make_intrusive<metatomic_torch::ModelEvaluationOptionsHolder>();
    options->set_length_unit(call.length_unit.empty() ? capabilities_.length_unit : call.length_unit);
    options->outputs.insert(capabilities_.energy_output, output);
    for (const auto& extra : call.extra) {
        auto item = torch::make_intrusive<metatomic_torch::ModelOutputHolder>();
        item->set_unit(extra.unit);
        item->set_sample_kind(extra.sample_kind);
        options->outputs.insert(extra.name, item);
    }
    for (const auto& name : companions_) {
        // Not under two names at once, where a caller asks for it by the old one.
        if (std::none_of(call.extra.begin(), call.extra.end(), [&](const auto& extra) {
                return current_name(extra.name) == name;
            })) {
            options->outputs.insert(name, declared_->outputs().at(name));
        }
    }
    if (call.select == Select::none) {
        return options;
    }
    std::vector<int32_t> flat;
    if (call.select == Select::all) {
        for (size_t s = 0; s < call.systems.size(); ++s) {
            for (size_t i = 0; i < call.systems[s].size(); ++i) {
                flat.insert(flat.end(), {int32_t(s), int32_t(i)});
            }
        }
    } else {
        for (const auto& [system, atom] : call.selected) {
            flat.insert(flat.end(), {system, atom});
        }
    }
    const auto values = torch::tensor(flat, torch::kInt32).reshape({-1, 2}).to(device_);
    static const torch::IValue names = std::vector<std::string>{"system", "atom"};
    options->set_selected_atoms(
        torch::make_intrusive<metatensor_torch::LabelsHolder>(names, values, metatensor::assume_unique{})
    );
    return options;
}

void TorchModel::differentiate(
    const torch::Tensor& values, const std::vector<Prepared>& prepared, bool strain, Answer& answer
) {
    if (!values.requires_grad()) {
        throw EngineError(
            "the energy does not depend on the positions (no gradient path), so an engine aborts at backward()"
        );
    }
    values.backward(-torch::ones_like(values));
    for (const auto& item : prepared) {
        if (!item.leaf.grad().defined() || (strain && !item.strain.grad().defined())) {
            throw EngineError(
                std::string("no gradient reached the ") + (item.leaf.grad().defined() ? "strain" : "positions") +
                ", so an engine reads an undefined tensor"
            );
        }
        answer.forces.push_back(to_vectors(item.leaf.grad()));
        if (strain) {
            answer.virials.push_back(to_matrix(item.strain.grad()));
        }
    }
}

std::atomic<uint64_t> calls{0};

torch::Tensor generator_state() {
    auto generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return generator.get_state();
}

Answer TorchModel::evaluate(const Call& call) {
    if (capabilities_.energy_output.empty()) {
        throw EngineError("the model has no energy");
    }
    ++calls;
    // Pairs and positions arrive in the units of the model; an engine with other units gives other numbers.
    const double length = call.length_unit.empty() ? 1.0 : unit_factor(capabilities_.length_unit, call.length_unit);
    const Placement place{dtype_of(call), device_};
    InputGuard guard;
    std::vector<Prepared> prepared;
    std::vector<metatomic_torch::System> systems;
    for (size_t index = 0; index < call.systems.size(); ++index) {
        prepared.push_back(prepare(call, index, length, place, guard));
        add_neighbors(call, index, length, place, requests_, lists_, prepared.back(), guard);
        add_requested_inputs(call, index, place, capabilities_.requested_inputs, prepared.back(), guard);
        systems.push_back(prepared.back().system);
    }
    torch::rand({1});  // away from the state that any fixed seed gives
    const auto random_before = generator_state();
    const FloatExceptions exceptions;
    const auto result = module_.forward({systems, options_for(call), call.check_consistency}).toGenericDict();
    Answer answer;
    answer.float_exceptions = exceptions.raised();
    answer.random_numbers_used = !torch::equal(random_before, generator_state());
    answer.changed_inputs = guard.changed();

    const auto returned = result.find(capabilities_.energy_output);
    if (returned == result.end()) {
        throw EngineError("the model did not return the output '" + capabilities_.energy_output + "' it was asked for");
    }
    const auto map = returned->value().toCustomClass<metatensor_torch::TensorMapHolder>();
    read_block(map, answer);
    if (answer.blocks > 1 && !is_energy(capabilities_.energy_output)) {
        read_other_blocks(map, answer);
    }
    for (const auto& extra : call.extra) {
        const auto returned = result.find(extra.name);
        if (returned == result.end()) {
            throw EngineError("the model did not return the output '" + extra.name + "' it was asked for");
        }
        answer.extra[extra.name] = read_extra(returned->value().toCustomClass<metatensor_torch::TensorMapHolder>());
    }
    if (call.gradients) {
        const FloatExceptions in_derivative;
        const auto values = metatensor_torch::TensorMapHolder::block_by_id(map, 0)->values();
        differentiate(values, prepared, call.strain, answer);
        if (answer.float_exceptions.empty()) {
            answer.float_exceptions = in_derivative.raised();
        }
    }
    return answer;
}

}  // namespace

std::unique_ptr<Model> load_model(
    std::shared_ptr<const Archive> archive, const std::optional<std::string>& extensions,
    const std::vector<std::string>& allowed, const AssumedUnits& units
) {
    check_operators(archive, extensions, allowed);
    return std::make_unique<TorchModel>(std::move(archive), extensions, units);
}

uint64_t call_count() { return calls; }

}  // namespace mtt
