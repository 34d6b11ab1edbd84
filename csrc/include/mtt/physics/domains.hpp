// Domain decomposition as LAMMPS does it: every rank gets its own atoms, then one copy of every other atom that has
// an image within the interaction range of its brick, the one closest to the middle. Pairs are those of all visible
// images. LAMMPS looks around the kept copies only and may lose pairs in narrow tilted cells; a model can not help that.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mtt/model/model.hpp"

namespace mtt {

struct Domain {
    /// Local atoms first, then ghosts; cell and periodicity of the whole system.
    System system;
    size_t n_local = 0;
    /// Atom of the whole system for each atom of `system`.
    std::vector<size_t> origin;
    /// One list per request, in random order as in an engine.
    std::vector<PairList> pairs;
    /// Atoms of the whole system that this domain does not see at all.
    size_t unseen = 0;
};

/// @param grid number of bricks along each axis of the cell (bounding box along non-periodic axes)
/// @param range ghost distance, in the length unit of the system
std::vector<Domain> decompose(
    const System& system, const std::array<int, 3>& grid, double range, const std::vector<NeighborRequest>& requests,
    uint64_t seed
);

/// What the rank of this domain asks the model: its own atoms selected, one energy or one for each of them.
Call call_of(const Domain& domain, Kind kind);

/// Adds forces (ghost gradients to their atoms) and virial of the answer for one domain to those of the whole.
void add_derivatives(Properties& total, const Domain& domain, const Answer& answer);

/// Energy, forces (ghost gradients added to their atoms) and virial, summed over domains.
Properties evaluate_domains(Model& model, const std::vector<Domain>& domains, size_t n_atoms);

}  // namespace mtt
