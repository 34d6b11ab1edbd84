#include "mtt/isolation/answers.hpp"

namespace mtt {

namespace {

uint64_t numbers_in(const std::vector<int64_t>& shape) {
    uint64_t out = 1;
    for (const int64_t extent : shape) {
        if (extent < 0 || (extent > 0 && out > (uint64_t(1) << 40) / uint64_t(extent))) {
            throw PackingError("a shape that no output has");
        }
        out *= uint64_t(extent);
    }
    return out;
}

}  // namespace

void demand(bool condition) {
    if (!condition) {
        throw PackingError("an answer that does not fit its question");
    }
}

namespace {

/// What blocks have in a row is what a row has.
void check_layout(const Answer& answer) {
    uint64_t in_row = 0;
    for (const auto& block : answer.layout) {
        demand(block.key.size() == answer.key_names.size() && block.labels.size() == block.components.size());
        demand(block.properties < uint64_t(1) << 40);
        std::vector<int64_t> extents = {int64_t(block.properties)};
        for (const auto& axis : block.labels) {
            extents.push_back(int64_t(axis.size()));
        }
        in_row += numbers_in(extents);
    }
    demand(answer.layout.empty() || answer.values.size() == in_row * answer.samples.size());
}

/// Each row of an output has its labels.
template <class Rows>
void check_rows(const Rows& output) {
    demand(output.shape.empty() || uint64_t(output.shape[0]) == output.samples.size());
    for (const auto& sample : output.samples) {
        demand(sample.size() == output.sample_names.size());
    }
}

}  // namespace

void check_answer(const Answer& answer, const Call& call) {
    demand(answer.values.size() == numbers_in(answer.shape));
    check_layout(answer);
    check_rows(answer);
    for (const auto& item : answer.extra) {
        demand(item.second.values.size() == numbers_in(item.second.shape));
        check_rows(item.second);
    }
    demand(answer.forces.size() == (call.gradients ? call.systems.size() : 0));
    demand(answer.virials.size() == (call.gradients && call.strain ? call.systems.size() : 0));
    for (size_t k = 0; k < answer.forces.size(); ++k) {
        demand(answer.forces[k].size() == call.systems[k].size());
    }
}

void check_predictions(const std::vector<Prediction>& predictions, const std::vector<System>& systems,
                       const std::vector<Wanted>& wanted) {
    size_t atoms = 0;
    for (const auto& system : systems) {
        atoms += system.size();
    }
    demand(predictions.size() == wanted.size());
    for (size_t k = 0; k < predictions.size(); ++k) {
        const auto& item = predictions[k];
        const size_t rows = wanted[k].per_atom ? atoms : systems.size();
        demand(item.columns < (uint64_t(1) << 32) && item.rows.size() == rows * item.columns);
        demand(item.forces.size() == (wanted[k].gradients ? 3 * atoms : 0));
        demand(item.strain.size() == (wanted[k].gradients ? 9 * systems.size() : 0));
    }
}

}  // namespace mtt
