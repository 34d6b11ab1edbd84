#include "mtt/model/model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mtt {

double Capabilities::ulp(double value) const {
    const double size = std::abs(value);
    if (dtype == "float32") {
        const auto single = float(size);
        return double(std::nextafter(single, std::numeric_limits<float>::max()) - single);
    }
    return std::nextafter(size, std::numeric_limits<double>::max()) - size;
}

uint64_t BlockLayout::numbers() const {
    uint64_t out = properties;
    for (const auto& axis : labels) {
        out *= axis.size();
    }
    return out;
}

size_t Target::numbers() const {
    size_t out = 0;
    for (const auto& block : blocks) {
        out += size_t(block.numbers());
    }
    return out;
}

bool Target::is_uncertainty() const { return quantity == "uncertainty" || quantity == "energy_uncertainty"; }

bool Target::is_ensemble() const { return quantity == "ensemble" || quantity == "energy_ensemble"; }

std::string Target::ensemble_name() const {
    const auto slash = name.find('/');
    auto base = name.substr(0, slash);
    const auto colons = base.rfind("::");
    if (colons != std::string::npos && base.substr(0, colons) == "mtt") {
        base = "mtt::aux::" + base.substr(colons + 2);
    }
    return base + "_ensemble" + (slash == std::string::npos ? "" : name.substr(slash));
}

double single_row(const Answer& answer) {
    if (answer.values.size() != 1) {
        throw EngineError(
            "the model returned " + std::to_string(answer.values.size()) +
            " numbers for the energy of one system, where engines expect exactly one"
        );
    }
    return answer.values[0];
}

std::vector<double> rows_by_atom(const Answer& answer, int32_t index, size_t n, size_t columns) {
    if (answer.sample_names != std::vector<std::string>{"system", "atom"}) {
        throw EngineError("rows of a per-atom output are not labeled (system, atom)");
    }
    if (answer.values.size() != answer.samples.size() * columns) {
        throw EngineError("a per-atom output does not have " + std::to_string(columns) + " numbers per row");
    }
    std::vector<double> out(n * columns, 0.0);
    std::vector<bool> seen(n, false);
    for (size_t row = 0; row < answer.samples.size(); ++row) {
        const auto& sample = answer.samples[row];
        if (sample[0] != index) {
            continue;
        }
        if (sample[1] < 0 || size_t(sample[1]) >= n || seen[sample[1]]) {
            throw EngineError("row " + std::to_string(row) + " of a per-atom output is labeled with atom " +
                              std::to_string(sample[1]) + ", which does not exist or came before");
        }
        seen[sample[1]] = true;
        const auto* begin = answer.values.data() + row * columns;
        std::copy(begin, begin + columns, out.begin() + std::ptrdiff_t(size_t(sample[1]) * columns));
    }
    if (std::find(seen.begin(), seen.end(), false) != seen.end()) {
        throw EngineError("a per-atom output has no row for some of the atoms");
    }
    return out;
}

Properties per_copy(const Properties& super, size_t copies) {
    Properties out;
    const double share = 1.0 / double(copies);
    out.energy = share * super.energy;
    out.forces.assign(super.forces.begin(), super.forces.begin() + std::ptrdiff_t(super.forces.size() / copies));
    out.virial = {share * super.virial[0], share * super.virial[1], share * super.virial[2]};
    return out;
}

Properties evaluate(Model& model, const System& system, bool strain) {
    Call call;
    call.systems = {system};
    call.strain = strain;
    return properties_of(model.evaluate(call));
}

Properties properties_of(const Answer& answer) {
    Properties out;
    out.energy = single_row(answer);
    out.forces = answer.forces.at(0);
    if (!answer.virials.empty()) {
        out.virial = answer.virials.at(0);
    }
    return out;
}

double energy(Model& model, const System& system) {
    Call call;
    call.systems = {system};
    call.gradients = false;
    return single_row(model.evaluate(call));
}

std::vector<double> atomic_energies(Model& model, const System& system) {
    Call call;
    call.systems = {system};
    call.gradients = false;
    call.kind = Kind::atom;
    return rows_by_atom(model.evaluate(call), 0, system.size());
}

double largest(const std::vector<Vec3>& vectors) {
    double out = 0.0;
    for (const auto& v : vectors) {
        for (const double component : v) {
            // A NaN must win, or it would hide behind finite components.
            out = std::isnan(component) ? component : std::max(out, std::abs(component));
            if (std::isnan(out)) {
                return out;
            }
        }
    }
    return out;
}

double largest(const Mat3& matrix) { return largest(std::vector<Vec3>(matrix.begin(), matrix.end())); }

}  // namespace mtt
