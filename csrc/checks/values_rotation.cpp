// SYM: how targets without gradients turn with the system: scalars do not, vectors and tensors do. Models such as PET only
// come near to it, so the number is reported; what turns in no way at all, while the rest of the model does, fails.
#include <algorithm>
#include <cmath>

#include "mtt/checks/values.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/spherical.hpp"
#include "mtt/physics/tolerances.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "rotation of values";
/// Beyond this share of the largest value, a component does not turn as its type says.
constexpr double plainly_wrong = 0.1;
/// What a model that respects rotations may change all the same.
constexpr double invariant = 1e-3;
constexpr size_t largest_degree = 12;

enum class Type { scalar, vector, matrix, spherical, unknown };

struct Part {
    Type type = Type::unknown;
    /// In each row.
    size_t start = 0;
    size_t components = 1;
    size_t properties = 1;
    /// Of a spherical tensor: 1, or -1 for pseudotensors.
    int parity = 1;
};

Type type_of(const BlockLayout& block) {
    const auto& axes = block.components;
    if (axes.empty()) {
        return Type::scalar;
    }
    if (axes == std::vector<std::string>{"xyz"}) {
        return Type::vector;
    }
    if (axes == std::vector<std::string>{"xyz_1", "xyz_2"}) {
        return Type::matrix;
    }
    const bool degree = axes == std::vector<std::string>{"o3_mu"} && block.labels[0].size() <= 2 * largest_degree + 1;
    return degree ? Type::spherical : Type::unknown;
}

std::vector<Part> parts_of(const ValueFacts& facts) {
    const auto sigma = std::find(facts.key_names.begin(), facts.key_names.end(), "o3_sigma");
    std::vector<Part> out;
    size_t start = 0;
    for (const auto& block : facts.blocks) {
        Part part{type_of(block), start, 1, size_t(block.properties)};
        for (const auto& axis : block.labels) {
            part.components *= axis.size();
        }
        if (sigma != facts.key_names.end() && block.key.size() == facts.key_names.size()) {
            part.parity = block.key[size_t(sigma - facts.key_names.begin())] < 0 ? -1 : 1;
        }
        out.push_back(part);
        start += block.numbers();
    }
    return out;
}

using Matrix = std::vector<std::vector<double>>;

/// [after][before]: how the components turn with a system that is rotated, x' = x R.
Matrix turning(const Part& part, const Mat3& rotation) {
    const size_t n = part.components;
    Matrix out(n, std::vector<double>(n, 0.0));
    for (size_t a = 0; a < n; ++a) {
        for (size_t b = 0; b < n; ++b) {
            out[a][b] = part.type == Type::vector ? rotation[b][a]
                : (part.type == Type::matrix ? rotation[b / 3][a / 3] * rotation[b % 3][a % 3] : double(a == b));
        }
    }
    return part.type == Type::spherical ? spherical_rotation(int(n / 2), rotation) : out;
}

/// The same tensor by harmonics with the sign of Condon and Shortley, which some programs use.
Matrix with_phases(Matrix matrix) {
    const size_t l = matrix.size() / 2;
    const auto sign = [&](size_t m) { return m > l && (m - l) % 2 == 1 ? -1.0 : (m < l && (l - m) % 2 == 1 ? -1.0 : 1.0); };
    for (size_t a = 0; a < matrix.size(); ++a) {
        for (size_t b = 0; b < matrix.size(); ++b) {
            matrix[a][b] *= sign(a) * sign(b);
        }
    }
    return matrix;
}

struct Change {
    /// Largest difference from what the type demands, and largest value.
    double error = 0.0;
    double size = 0.0;
    /// The same of the lengths of vectors and tensors.
    double of_length = 0.0;
    double length = 0.0;

    void add(const Change& other) {
        error = std::max(error, other.error);
        size = std::max(size, other.size);
        of_length = std::max(of_length, other.of_length);
        length = std::max(length, other.length);
    }
};

Change change_of(const Part& part, const Matrix& matrix, const std::vector<double>& before, const std::vector<double>& after,
                 size_t numbers) {
    Change out;
    for (size_t row = 0; row * numbers < before.size(); ++row) {
        for (size_t p = 0; p < part.properties; ++p) {
            const auto at = [&](size_t c) { return row * numbers + part.start + c * part.properties + p; };
            double squared_before = 0.0;
            double squared_after = 0.0;
            for (size_t a = 0; a < part.components; ++a) {
                double expected = 0.0;
                for (size_t b = 0; b < part.components; ++b) {
                    expected += matrix[a][b] * before[at(b)];
                }
                const double got = after.at(at(a));
                out.error = std::max(out.error, std::abs(got - expected));
                out.size = std::max(out.size, std::abs(before[at(a)]));
                squared_before += before[at(a)] * before[at(a)];
                squared_after += got * got;
            }
            out.of_length = std::max(out.of_length, std::abs(std::sqrt(squared_after) - std::sqrt(squared_before)));
            out.length = std::max(out.length, std::sqrt(squared_before));
        }
    }
    return out;
}

Change change_of(const Part& part, const Matrix& matrix, const Values& before, const Values& after, size_t numbers) {
    auto out = change_of(part, matrix, before.atoms, after.atoms, numbers);
    out.add(change_of(part, matrix, before.total, after.total, numbers));
    return out;
}

/// What an inversion multiplies components by.
double sign_of(const Part& part) {
    if (part.type == Type::vector) {
        return -1.0;
    }
    return part.type == Type::spherical ? part.parity * ((part.components / 2) % 2 == 0 ? 1 : -1) : 1.0;
}

/// Of spherical tensors the better one of two conventions.
/// @param polar vectors are known to be no pseudovectors, so that a reflection tells more; of spherical tensors the parity says it
Change change_of(const ValueReader& reader, Model& model, const System& system, const Part& part, const Values& before,
                 const Mat3& rotation, const Values& after, bool polar) {
    auto matrix = turning(part, rotation);
    auto out = change_of(part, matrix, before, after, reader.numbers());
    if (part.type == Type::spherical) {
        const auto phased = with_phases(matrix);
        if (const auto other = change_of(part, phased, before, after, reader.numbers()); other.error < out.error) {
            out = other;
            matrix = phased;
        }
    }
    if (!system.periodic() && (polar || part.type == Type::spherical)) {
        const Mat3 reflection = {-1.0 * rotation[0], -1.0 * rotation[1], -1.0 * rotation[2]};
        for (auto& row : matrix) {
            for (double& value : row) {
                value *= sign_of(part);
            }
        }
        out.add(change_of(part, matrix, before, reader.values(model, deformed(system, reflection)), reader.numbers()));
    }
    return out;
}

/// Relative change of the energy, of which everybody knows that it does not turn.
double change_of_energy(Context& context) {
    const auto current = context.target();
    double out = 1.0;
    const auto& all = context.targets();
    const auto energy = std::find_if(all.begin(), all.end(), [](const Target& target) { return target.gradients; });
    if (energy == all.end()) {
        return out;
    }
    const auto measure = [&] {
        std::mt19937_64 random(43);
        const auto& system = context.systems().front();
        const auto before = evaluate(context.model(), system);
        const auto rotation = random_rotation(random);
        const auto after = evaluate(context.model(), deformed(system, rotation));
        double change = 0.0;
        for (size_t i = 0; i < system.size(); ++i) {
            change = std::max(change, norm(after.forces[i] - before.forces[i] * rotation));
        }
        return largest(before.forces) > 0 ? change / largest(before.forces) : 1.0;
    };
    context.use(*energy);
    try {
        out = measure();
    } catch (const std::exception&) {
        // Other checks say what is wrong with the energy.
    }
    context.use(current);
    return out;
}

/// meV, or meV/angstrom, in the unit of the values; 0 for those of another dimension.
double milli(const Capabilities& capabilities) {
    for (const char* like : {"eV", "eV/angstrom"}) {
        try {
            return capabilities.energy_unit.empty() ? 0.0 : 1e-3 * unit_factor(like, capabilities.energy_unit);
        } catch (const std::exception&) {
            continue;
        }
    }
    return 0.0;
}

/// As the golden pack says; what it says of its own uncertainties is made from features, and rounding in them grows.
bool turns_exactly(Context& context) {
    const auto& target = context.target();
    const auto* pack = context.golden();
    return pack != nullptr && pack->turns_exactly && target.described && !target.is_uncertainty() && !target.is_ensemble();
}

std::vector<Result> run(Context& context) {
    const ValueReader reader(context);
    const auto parts = parts_of(facts_of(context));
    std::mt19937_64 random(42);
    std::vector<Change> changes(parts.size());
    std::vector<std::string> names;
    // Somebody else's vector may be a spin.
    const bool polar = context.target().described || standard_quantity(context.target().name) != nullptr;
    for (const auto& system : reader.systems()) {
        if (system.size() > 40 || names.size() >= 3) {
            continue;
        }
        names.push_back(system.name);
        const auto before = reader.values(context.model(), system);
        const auto rotation = random_rotation(random);
        const auto after = reader.values(context.model(), deformed(system, rotation));
        for (size_t k = 0; k < parts.size(); ++k) {
            if (parts[k].type != Type::unknown) {
                changes[k].add(change_of(reader, context.model(), system, parts[k], before, rotation, after, polar));
            }
        }
    }
    Change all;
    bool wrong = false;
    double lengths = 0.0;
    for (size_t k = 0; k < parts.size(); ++k) {
        all.add(changes[k]);
        lengths = std::max(lengths, changes[k].length > 0 ? changes[k].of_length / changes[k].length : 0.0);
        wrong = wrong || (parts[k].components > 1 && changes[k].error > plainly_wrong * changes[k].size);
    }
    if (std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.type == Type::unknown; })) {
        return {skipped(name, "nobody knows how values with these components turn")};
    }
    const auto& unit = context.capabilities().energy_unit;
    auto out = passed(name, "rotations change values by up to " + short_number(all.error) + (unit.empty() ? "" : " " + unit) +
                      " where the largest is " + short_number(all.size));
    out.measured = all.error;
    out.unit = unit;
    out.systems = names;
    double allowed = context.mode().max_rotation_error.value_or(0.0) * milli(context.capabilities());
    std::string why = ": more than was allowed";
    if (allowed == 0 && turns_exactly(context)) {
        allowed = facts_of(context).rounding + relative_tolerance(Agreement::geometry, context.capabilities().dtype) * all.size;
        why = ": they do not turn with the system, although the architecture of this model does so exactly: what was exported "
              "does not";
    }
    if (allowed > 0) {
        out.tolerance = allowed;
    }
    if (allowed > 0 && !(all.error <= allowed)) {
        out.status = Status::fail;
        out.message += why;
    } else if (wrong && (context.has_energy() ? change_of_energy(context) : lengths) < invariant) {
        out.status = Status::fail;
        out.message += ": they do not turn with the system as their components say, although the model does respect rotations";
    }
    return {out};
}

const Registered check({
    "SYM", "rotation of values",
    "Vectors and tensors turn with the system, scalars do not; models such as PET are not exactly equivariant.",
    "a tenth of the largest value, for a model whose forces, or lengths of vectors if it has none, change by less than a thousandth; "
    "--max-rotation-error for energies and forces; 'geometry' of the tolerance table, relative to the largest value, for architectures "
    "that turn exactly, as the golden pack says; otherwise the number is only reported",
    {name}, about_values(run, {name}), Level::quick, {"all"},
}, About::values);

}  // namespace

}  // namespace mtt
