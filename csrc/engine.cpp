// The only file that knows how libtorch, metatensor and metatomic are called. The order of steps is that of
// LAMMPS' pair_style metatomic (see docs/pipeline/verify.md), so that what passes here runs there.
#include <torch/csrc/jit/runtime/graph_iterator.h>
#include <torch/script.h>

#include <metatensor/torch.hpp>
#include <metatomic/torch.hpp>

#include <atomic>
#include <mutex>

#include "mtt/engine.hpp"

namespace mtt {

namespace {

torch::Tensor matrix_tensor(const Mat3& m) {
    return torch::from_blob(const_cast<double*>(m[0].data()), {3, 3}, torch::kFloat64).clone();
}

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

/// The same numbers in memory that is not contiguous, as slices of an engine's larger arrays are.
torch::Tensor spread_out(const torch::Tensor& tensor) {
    auto sizes = tensor.sizes().vec();
    sizes.push_back(2);
    auto wide = torch::full(sizes, 77, tensor.options());
    wide.select(-1, 0).copy_(tensor);
    return wide.select(-1, 0);
}

/// The answer's numbers, in float64.
std::vector<double> to_doubles(const torch::Tensor& tensor) {
    const auto flat = tensor.detach().to(torch::kCPU, torch::kFloat64).reshape({-1}).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
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

/// Copies of everything that the model gets, to see afterwards whether the call changed any of it.
class InputGuard {
public:
    void add(std::string name, const torch::Tensor& tensor) {
        names_.push_back(std::move(name));
        tensors_.push_back(tensor.detach());
        copies_.push_back(tensor.detach().clone());
    }
    [[nodiscard]] std::vector<std::string> changed() const {
        std::vector<std::string> out;
        for (size_t k = 0; k < names_.size(); ++k) {
            if (!torch::equal(tensors_[k], copies_[k])) {
                out.push_back(names_[k]);
            }
        }
        return out;
    }

private:
    std::vector<std::string> names_;
    std::vector<torch::Tensor> tensors_;
    std::vector<torch::Tensor> copies_;
};

/// One system with its autograd leaves.
struct Prepared {
    metatomic_torch::System system;
    torch::Tensor leaf;
    torch::Tensor strain;
};

class TorchModel final : public Model {
public:
    TorchModel(std::string path, std::optional<std::string> extensions, const std::string& device = "cpu");

    [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
    [[nodiscard]] const std::vector<NeighborRequest>& requests() const override { return requests_; }
    Answer evaluate(const Call& call) override;
    std::vector<std::string> modules_in_training_mode() override;
    std::vector<std::string> warnings() override { return torch_warnings(); }
    std::unique_ptr<Model> widened(uint64_t noise_seed) override;
    void move_again() override { module_.to(device_); }
    std::vector<std::string> left_on_cpu() override;
    std::unique_ptr<Model> on_device(const std::string& device) override {
        return std::make_unique<TorchModel>(path_, extensions_, device);
    }

private:
    void read_capabilities();
    Prepared prepare(const Call& call, size_t index, double length, InputGuard& guard) const;
    void add_neighbors(const Call& call, size_t index, double length, Prepared& prepared, InputGuard& guard) const;
    [[nodiscard]] metatomic_torch::ModelEvaluationOptions options_for(const Call& call) const;
    [[nodiscard]] torch::Dtype dtype_of(const Call& call) const {
        return call.dtype.empty() ? dtype_ : (call.dtype == "float32" ? torch::kFloat32 : torch::kFloat64);
    }
    static void differentiate(
        const torch::Tensor& values, const std::vector<Prepared>& prepared, bool strain, Answer& answer
    );

    std::string path_;
    std::optional<std::string> extensions_;
    metatensor_torch::Module module_;
    metatomic_torch::ModelCapabilities declared_;
    std::vector<metatomic_torch::NeighborListOptions> lists_;
    Capabilities capabilities_;
    std::vector<NeighborRequest> requests_;
    torch::Dtype dtype_ = torch::kFloat64;
    torch::Device device_ = torch::kCPU;
};

TorchModel::TorchModel(std::string path, std::optional<std::string> extensions, const std::string& device):
    path_(std::move(path)),
    extensions_(std::move(extensions)),
    module_(metatomic_torch::load_atomistic_model(path_, extensions_)) {
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
        capabilities_.requested_inputs.push_back(item.key().toStringRef());
    }
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
    out.energy_output = metatomic_torch::pick_output("energy", declared_->outputs());
    const auto energy = declared_->outputs().at(out.energy_output);
    out.energy_unit = energy->unit();
    out.energy_kind = energy->sample_kind();
    out.angstrom = out.length_unit.empty() ? 1.0 : unit_factor("angstrom", out.length_unit);
    try {
        out.electronvolt = out.energy_unit.empty() ? 1.0 : unit_factor("eV", out.energy_unit);
    } catch (const std::exception&) {
        out.electronvolt = 1.0;  // the SCHEMA family reports a unit that is no energy
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

std::unique_ptr<Model> TorchModel::widened(uint64_t noise_seed) {
    if (dtype_ != torch::kFloat32) {
        return nullptr;
    }
    auto wide = std::make_unique<TorchModel>(path_, extensions_);
    auto generator = at::make_generator<at::CPUGeneratorImpl>(noise_seed);
    // Module::to would turn integers into floating-point numbers as well.
    const auto widen = [&](torch::Tensor tensor) {
        if (tensor.scalar_type() != torch::kFloat32) {
            return;
        }
        auto exact = tensor.to(torch::kFloat64);
        if (noise_seed != 0) {
            exact = exact * (1.0 + 0x1p-24 * (2.0 * torch::rand(exact.sizes(), generator, exact.options()) - 1.0));
        }
        tensor.set_data(exact);
    };
    for (const auto& parameter : wide->module_.parameters()) {
        widen(parameter);
    }
    for (const auto& buffer : wide->module_.buffers()) {
        widen(buffer);
    }
    wide->dtype_ = torch::kFloat64;
    wide->capabilities_.dtype = "float64";
    return wide;
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

Prepared TorchModel::prepare(const Call& call, size_t index, double length, InputGuard& guard) const {
    const System& source = call.systems[index];
    const auto n = int64_t(source.size());
    Prepared out;
    auto types = torch::empty({n}, torch::kInt32);
    auto positions = torch::empty({n, 3}, torch::kFloat64);
    if (n > 0) {
        std::memcpy(types.data_ptr<int32_t>(), source.types.data(), size_t(n) * sizeof(int32_t));
        std::memcpy(positions.data_ptr<double>(), source.positions[0].data(), size_t(n) * sizeof(Vec3));
    }
    auto cell = matrix_tensor(source.cell);
    if (length != 1.0) {
        positions *= length;
        cell *= length;
    }
    auto pbc = torch::empty({3}, torch::kBool);
    for (int k = 0; k < 3; ++k) {
        pbc[k] = source.pbc[k];
    }
    const auto dtype = dtype_of(call);
    out.leaf = call.leaf_in_model_dtype ? positions.to(dtype) : positions;
    out.leaf.set_requires_grad(call.gradients);
    // LAMMPS builds the strain graph only on steps that need the virial, so both graphs must work.
    positions = out.leaf.to(dtype).to(device_);
    cell = cell.to(dtype).to(device_);
    if (call.gradients && call.strain) {
        const auto leaf_dtype = call.leaf_in_model_dtype ? dtype : torch::kFloat64;
        out.strain = torch::eye(3, torch::TensorOptions().dtype(leaf_dtype)).set_requires_grad(true);
        positions = positions.matmul(out.strain.to(dtype).to(device_));
        cell = cell.matmul(out.strain.to(dtype).to(device_));
    }
    types = types.to(device_);
    pbc = pbc.to(device_);
    if (call.strided) {
        types = spread_out(types);
        positions = spread_out(positions);
        cell = cell.t().contiguous().t();
        pbc = source.pbc[0] == source.pbc[1] && source.pbc[0] == source.pbc[2] ? pbc.slice(0, 0, 1).expand({3})
                                                                               : spread_out(pbc);
    }
    out.system = torch::make_intrusive<metatomic_torch::SystemHolder>(types, positions, cell, pbc);
    const std::string where = " of system " + std::to_string(index);
    guard.add("types" + where, types);
    guard.add("positions" + where, positions);
    guard.add("cell" + where, cell);
    guard.add("pbc" + where, pbc);
    return out;
}

void TorchModel::add_neighbors(
    const Call& call, size_t index, double length, Prepared& prepared, InputGuard& guard
) const {
    static const auto components = std::vector<metatensor_torch::Labels>{
        metatensor_torch::LabelsHolder::create({"xyz"}, {{0}, {1}, {2}})
    };
    static const auto properties = metatensor_torch::LabelsHolder::create({"distance"}, {{0}});
    for (size_t k = 0; k < requests_.size(); ++k) {
        const PairList pairs =
            call.pairs.empty() ? build_pairs(call.systems[index], requests_[k]) : call.pairs.at(index).at(k);
        const auto n = int64_t(pairs.size());
        auto samples = torch::empty({n, 5}, torch::kInt32);
        auto vectors = torch::empty({n, 3, 1}, torch::kFloat64);
        auto* sample = samples.data_ptr<int32_t>();
        auto* vector = vectors.data_ptr<double>();
        for (const auto& pair : pairs) {
            *sample++ = pair.first;
            *sample++ = pair.second;
            for (int d = 0; d < 3; ++d) {
                *sample++ = pair.shift[d];
                *vector++ = length * pair.vector[d];
            }
        }
        static const torch::IValue names = std::vector<std::string>{
            "first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"
        };
        auto labels = torch::make_intrusive<metatensor_torch::LabelsHolder>(
            names, samples.to(device_), metatensor::assume_unique{}
        );
        vectors = vectors.to(dtype_of(call)).to(device_);
        auto block = torch::make_intrusive<metatensor_torch::TensorBlockHolder>(
            call.strided ? spread_out(vectors) : vectors, labels, components, properties
        );
        metatomic_torch::register_autograd_neighbors(prepared.system, block, call.check_consistency);
        prepared.system->add_neighbor_list(lists_[k], block);
        guard.add("neighbor list " + std::to_string(k) + " of system " + std::to_string(index), block->values());
    }
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
    ++calls;
    // Pairs and positions arrive in the units of the model; an engine with other units gives other numbers.
    const double length = call.length_unit.empty() ? 1.0 : unit_factor(capabilities_.length_unit, call.length_unit);
    InputGuard guard;
    std::vector<Prepared> prepared;
    std::vector<metatomic_torch::System> systems;
    for (size_t index = 0; index < call.systems.size(); ++index) {
        prepared.push_back(prepare(call, index, length, guard));
        add_neighbors(call, index, length, prepared.back(), guard);
        systems.push_back(prepared.back().system);
    }
    torch::rand({1});  // away from the state that any fixed seed gives
    const auto random_before = generator_state();
    const auto result = module_.forward({systems, options_for(call), call.check_consistency}).toGenericDict();
    Answer answer;
    answer.random_numbers_used = !torch::equal(random_before, generator_state());
    answer.changed_inputs = guard.changed();

    const auto found = result.find(capabilities_.energy_output);
    if (found == result.end()) {
        throw EngineError("the model did not return the output '" + capabilities_.energy_output + "' it was asked for");
    }
    const auto map = found->value().toCustomClass<metatensor_torch::TensorMapHolder>();
    answer.blocks = size_t(map->keys()->count());
    answer.key_names = map->keys()->names();
    const auto block = metatensor_torch::TensorMapHolder::block_by_id(map, 0);
    const auto values = block->values();
    answer.shape = values.sizes().vec();
    answer.dtype = values.scalar_type() == torch::kFloat32
        ? "float32" : (values.scalar_type() == torch::kFloat64 ? "float64" : c10::toString(values.scalar_type()));
    answer.values = to_doubles(values);
    answer.sample_names = block->samples()->names();
    answer.property_names = block->properties()->names();
    answer.explicit_gradients = block->gradients_list();
    const auto samples = block->samples()->values().to(torch::kCPU, torch::kInt32).contiguous();
    for (int64_t row = 0; row < samples.size(0); ++row) {
        const auto* begin = samples.data_ptr<int32_t>() + row * samples.size(1);
        answer.samples.emplace_back(begin, begin + samples.size(1));
    }
    for (const auto& extra : call.extra) {
        const auto returned = result.find(extra.name);
        if (returned == result.end()) {
            throw EngineError("the model did not return the output '" + extra.name + "' it was asked for");
        }
        const auto tensor = metatensor_torch::TensorMapHolder::block_by_id(
            returned->value().toCustomClass<metatensor_torch::TensorMapHolder>(), 0
        )->values();
        answer.extra[extra.name] = {to_doubles(tensor), tensor.sizes().vec()};
    }
    if (call.gradients) {
        differentiate(values, prepared, call.strain, answer);
    }
    return answer;
}

}  // namespace

std::unique_ptr<Model> load_model(const std::string& path, const std::optional<std::string>& extensions) {
    return std::make_unique<TorchModel>(path, extensions);
}

uint64_t call_count() { return calls; }

}  // namespace mtt
