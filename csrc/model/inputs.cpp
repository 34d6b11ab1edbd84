#include "mtt/model/inputs.hpp"

#include <metatensor/torch.hpp>

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
    static const auto components = std::vector<metatensor_torch::Labels>{
        metatensor_torch::LabelsHolder::create({"xyz"}, {{0}, {1}, {2}})
    };
    static const auto properties = metatensor_torch::LabelsHolder::create({"distance"}, {{0}});
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

}  // namespace mtt
