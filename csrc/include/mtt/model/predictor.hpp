// A model asked for many structures at once, for people who want its numbers; engines call it through Model.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mtt/capabilities.hpp"
#include "mtt/model/archive.hpp"
#include "mtt/physics/system.hpp"

namespace mtt {

/// An output that is asked for.
struct Wanted {
    std::string name;
    /// Rows for atoms; otherwise for systems.
    bool per_atom = false;
    /// Derivatives by positions and strain as well.
    bool gradients = false;
};

/// What the model gives for one output, of all systems one after the other.
struct Prediction {
    /// Numbers for each system or atom.
    uint64_t columns = 0;
    /// [row * columns + column] in the order of systems and of their atoms; NaN for rows that the model leaves out.
    std::vector<double> rows;
    /// [atom * 3 + axis] = -dE/dx; empty if they were not asked for.
    std::vector<double> forces;
    /// [system * 9 + 3 * a + b] = dE/dstrain; empty if they were not asked for.
    std::vector<double> strain;
};

class Predictor {
public:
    virtual ~Predictor() = default;
    /// The energy that engines pick is empty if the model has none.
    [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
    /// @param systems in the length unit of the model
    /// @throws std::exception whatever the model throws
    virtual std::vector<Prediction> predict(const std::vector<System>& systems, const std::vector<Wanted>& wanted) = 0;
};

/// @param widened all floating-point numbers of the model turned into float64, which not every code allows
/// @throws EngineError or whatever libtorch throws
std::unique_ptr<Predictor> load_predictor(
    const std::shared_ptr<const Archive>& archive, const std::optional<std::string>& extensions,
    const std::vector<std::string>& allowed, bool widened
);

}  // namespace mtt
