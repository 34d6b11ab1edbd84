#include "mtt/model/inputs.hpp"

#include <metatensor/torch.hpp>

#include <algorithm>
#include <array>
#include <cstring>

#include "mtt/physics/neighbors.hpp"

namespace mtt {

namespace {

torch::Tensor matrix_tensor(const Mat3& m) {
    return torch::from_blob(const_cast<double*>(m[0].data()), {3, 3}, torch::kFloat64).clone();
}

/// The same numbers in memory that is not contiguous, as slices of an engine's larger arrays are.
torch::Tensor spread_out(const torch::Tensor& tensor) {
    auto sizes = tensor.sizes().vec();
    sizes.push_back(2);
    auto wide = torch::full(sizes, 77, tensor.options());
    wide.select(-1, 0).copy_(tensor);
    return wide.select(-1, 0);
}

}  // namespace

Prepared prepare(const Call& call, size_t index, double length, const Placement& place, InputGuard& guard) {
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
    const auto dtype = place.dtype;
    out.leaf = call.leaf_in_model_dtype ? positions.to(dtype) : positions;
    out.leaf.set_requires_grad(call.gradients);
    // LAMMPS builds the strain graph only on steps that need the virial, so both graphs must work.
    positions = out.leaf.to(dtype).to(place.device);
    cell = cell.to(dtype).to(place.device);
    if (call.gradients && call.strain) {
        const auto leaf_dtype = call.leaf_in_model_dtype ? dtype : torch::kFloat64;
        out.strain = torch::eye(3, torch::TensorOptions().dtype(leaf_dtype)).set_requires_grad(true);
        positions = positions.matmul(out.strain.to(dtype).to(place.device));
        cell = cell.matmul(out.strain.to(dtype).to(place.device));
    }
    types = types.to(place.device);
    pbc = pbc.to(place.device);
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

void add_neighbors(
    const Call& call, size_t index, double length, const Placement& place, const std::vector<NeighborRequest>& requests,
    const std::vector<metatomic_torch::NeighborListOptions>& lists, Prepared& prepared, InputGuard& guard
) {
    // Where the vectors are: a block of two devices is refused.
    const std::vector<metatensor_torch::Labels> components = {
        metatensor_torch::LabelsHolder::create({"xyz"}, {{0}, {1}, {2}})->to(place.device)
    };
    const auto properties = metatensor_torch::LabelsHolder::create({"distance"}, {{0}})->to(place.device);
    for (size_t k = 0; k < requests.size(); ++k) {
        const PairList pairs =
            call.pairs.empty() ? build_pairs(call.systems[index], requests[k]) : call.pairs.at(index).at(k);
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
            names, samples.to(place.device), metatensor::assume_unique{}
        );
        vectors = vectors.to(place.dtype).to(place.device);
        auto block = torch::make_intrusive<metatensor_torch::TensorBlockHolder>(
            call.strided ? spread_out(vectors) : vectors, labels, components, properties
        );
        metatomic_torch::register_autograd_neighbors(prepared.system, block, call.check_consistency);
        prepared.system->add_neighbor_list(lists[k], block);
        guard.add("neighbor list " + std::to_string(k) + " of system " + std::to_string(index), block->values());
    }
}

namespace {

/// Standard atomic weights, from hydrogen on; of elements without one, the mass number of a long-lived isotope.
constexpr std::array<double, 118> weights = {
    1.008, 4.0026, 6.94, 9.0122, 10.81, 12.011, 14.007, 15.999, 18.998, 20.18, 22.99, 24.305, 26.982, 28.085, 30.974,
    32.06, 35.45, 39.95, 39.098, 40.078, 44.956, 47.867, 50.942, 51.996, 54.938, 55.845, 58.933, 58.693, 63.546, 65.38,
    69.723, 72.63, 74.922, 78.971, 79.904, 83.798, 85.468, 87.62, 88.906, 91.224, 92.906, 95.95, 97, 101.07, 102.91,
    106.42, 107.87, 112.41, 114.82, 118.71, 121.76, 127.6, 126.9, 131.29, 132.91, 137.33, 138.91, 140.12, 140.91, 144.24,
    145, 150.36, 151.96, 157.25, 158.93, 162.5, 164.93, 167.26, 168.93, 173.05, 174.97, 178.49, 180.95, 183.84, 186.21,
    190.23, 192.22, 195.08, 196.97, 200.59, 204.38, 207.2, 208.98, 209, 210, 222, 223, 226, 227, 232.04, 231.04, 238.03,
    237, 244, 243, 247, 247, 251, 252, 257, 258, 259, 262, 267, 268, 269, 270, 269, 278, 281, 282, 285, 286, 289, 290,
    293, 294, 294,
};

double weight_of(int32_t type) {
    return type >= 1 && size_t(type) <= weights.size() ? weights[size_t(type) - 1] : 1.0;
}

struct Known {
    const char* name;
    const char* sample_kind;
    const char* property;
    /// That ASE gives it in.
    const char* unit;
};

constexpr Known known_inputs[] = {
    {"mass", "atom", "mass", "u"},
    {"velocity", "atom", "velocity", "(eV/u)^(1/2)"},
    {"momentum", "atom", "momentum", "(eV*u)^(1/2)"},
    {"charge", "atom", "charge", "e"},
    {"charge", "system", "charge", "e"},
    {"spin_multiplicity", "system", "spin_multiplicity", ""},
    {"ase::initial_magmoms", "atom", "magnetic_moment", "e * hbar / (2 * m_e)"},
    {"ase::initial_charges", "atom", "charge", "e"},
    {"ase::tags", "atom", "tag", ""},
};

const Known* known(const OutputInfo& input) {
    const auto* found = std::find_if(std::begin(known_inputs), std::end(known_inputs), [&](const Known& item) {
        return input.name == item.name && input.sample_kind == item.sample_kind;
    });
    return found == std::end(known_inputs) ? nullptr : found;
}

/// [atoms or 1] or [atoms, 3], float64.
torch::Tensor values_of(const Known& input, const Call& call, size_t index) {
    const auto& system = call.systems[index];
    const auto n = int64_t(system.size());
    const std::string name = input.name;
    if (name == "charge" && input.sample_kind == std::string("system")) {
        return torch::full({1}, system.charge, torch::kFloat64);
    }
    if (name == "spin_multiplicity") {
        return torch::full({1}, system.spin_multiplicity, torch::kFloat64);
    }
    auto masses = torch::empty({n}, torch::kFloat64);
    for (int64_t i = 0; i < n; ++i) {
        masses.data_ptr<double>()[i] = weight_of(system.types[size_t(i)]);
    }
    if (name == "mass") {
        return masses;
    }
    if (name != "velocity" && name != "momentum") {
        return torch::zeros({n}, torch::kFloat64);
    }
    auto velocities = torch::zeros({n, 3}, torch::kFloat64);
    if (!call.velocities.empty() && n > 0) {
        std::memcpy(velocities.data_ptr<double>(), call.velocities.at(index).at(0).data(), size_t(n) * sizeof(Vec3));
    }
    return name == "velocity" ? velocities : velocities * masses.unsqueeze(1);
}

}  // namespace

bool can_supply(const OutputInfo& input) { return known(input) != nullptr; }

void add_requested_inputs(
    const Call& call, size_t index, const Placement& place, const std::vector<OutputInfo>& requested, Prepared& prepared,
    InputGuard& guard
) {
    for (const auto& input : requested) {
        if (std::find(call.withheld.begin(), call.withheld.end(), input.name) != call.withheld.end()) {
            continue;
        }
        const auto* item = known(input);
        if (item == nullptr) {
            throw EngineError("the model requests the input '" + input.name + "' per " + input.sample_kind +
                              ", which no engine has");
        }
        const auto values = values_of(*item, call, index).to(place.dtype).to(place.device).unsqueeze(-1);
        const bool per_atom = item->sample_kind == std::string("atom");
        auto samples = torch::zeros({values.size(0), per_atom ? 2 : 1}, torch::kInt32);
        if (per_atom) {
            samples.select(1, 1).copy_(torch::arange(values.size(0), torch::kInt32));
        }
        // ASE and LAMMPS call the system of each such block 0, also in a batch.
        const torch::IValue names = per_atom ? std::vector<std::string>{"system", "atom"} : std::vector<std::string>{"system"};
        std::vector<metatensor_torch::Labels> components;
        if (values.dim() == 3) {
            components.push_back(metatensor_torch::LabelsHolder::create({"xyz"}, {{0}, {1}, {2}})->to(place.device));
        }
        auto block = torch::make_intrusive<metatensor_torch::TensorBlockHolder>(
            values,
            torch::make_intrusive<metatensor_torch::LabelsHolder>(names, samples.to(place.device), metatensor::assume_unique{}),
            components, metatensor_torch::LabelsHolder::create({item->property}, {{0}})->to(place.device)
        );
        auto map = torch::make_intrusive<metatensor_torch::TensorMapHolder>(
            metatensor_torch::LabelsHolder::create({"_"}, {{0}})->to(place.device),
            std::vector<metatensor_torch::TensorBlock>{block}
        );
        map->set_info("unit", item->unit);
        prepared.system->add_data(input.name, map);
        guard.add("input '" + input.name + "' of system " + std::to_string(index), values);
    }
}

}  // namespace mtt
