#include "mtt/checks/values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "mtt/engines/uses.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr size_t largest_sample = 40;

/// All check systems for a target of the golden pack; for other outputs a few, of each periodicity, at the level quick.
std::vector<System> systems_for(Context& context) {
    const bool all = context.target().described || context.level() != Level::quick;
    std::vector<System> out;
    for (const auto& system : context.systems()) {
        const auto periodic = [](const System& item) { return item.pbc[0] + item.pbc[1] + item.pbc[2]; };
        const auto alike = [&](const System& item) { return periodic(item) == periodic(system); };
        const bool wanted = all || (periodic(system) != 1 && system.size() > 1 && system.size() <= largest_sample &&
                                    std::none_of(out.begin(), out.end(), alike));
        if (wanted && (!context.target().per_volume || fully_periodic(system))) {
            out.push_back(system);
        }
    }
    return out;
}

void read_layout(const Target& target, const Answer& answer, ValueFacts& facts) {
    facts.key_names = target.described ? target.key_names : answer.key_names;
    facts.blocks = target.described ? target.blocks : answer.layout;
    facts.numbers = 0;
    for (const auto& block : facts.blocks) {
        facts.numbers += block.numbers();
    }
}

/// Values of one system; the layout of the first answer is that of all.
Values first_values(Context& context, const System& system, ValueFacts& facts) {
    Values out;
    auto call = ValueReader::call_of(system);
    for (const auto kind : kinds_of(context)) {
        call.kind = kind;
        const auto answer = context.model().evaluate(call);
        if (facts.blocks.empty()) {
            read_layout(context.target(), answer, facts);
        }
        if (kind == Kind::atom) {
            out.atoms = rows_by_atom(answer, 0, system.size(), facts.numbers);
        } else if (answer.values.size() != facts.numbers) {
            throw EngineError("the model returned " + std::to_string(answer.values.size()) + " numbers for one system "
                              "instead of " + std::to_string(facts.numbers));
        } else {
            out.total = answer.values;
        }
    }
    return out;
}

/// Spread of each number over the atoms of one type: what a baseline adds is the same for all of them and says nothing
/// about the network.
class Spread {
public:
    void add(const System& system, const Values& values, size_t numbers) {
        for (const auto* part : {&values.atoms, &values.total}) {
            for (const double value : *part) {
                largest_ = std::max(largest_, std::abs(value));
            }
        }
        for (size_t k = 0; k < values.atoms.size(); ++k) {
            const double value = values.atoms[k];
            const auto key = std::pair(system.types[k / numbers], k % numbers);
            auto& [low, high] = bounds_.emplace(key, std::pair(value, value)).first->second;
            low = std::min(low, value);
            high = std::max(high, value);
        }
    }
    void write(const Capabilities& capabilities, ValueFacts& facts) const {
        for (const auto& [key, range] : bounds_) {
            facts.scale = std::max(facts.scale, range.second - range.first);
        }
        if (!(facts.scale > 0)) {
            facts.scale = std::max(largest_, std::numeric_limits<double>::min());
        }
        facts.rounding = 4 * capabilities.ulp(largest_);
    }

private:
    std::map<std::pair<int32_t, size_t>, std::pair<double, double>> bounds_;
    double largest_ = 0.0;
};

/// Whoever uses these has asked for the output.
bool asks_by_itself(const std::string& use) { return !use_of(use).runs_md; }

/// Those that select atoms.
std::vector<std::string> selecting(const std::vector<std::string>& uses) {
    std::vector<std::string> out;
    for (const auto& use : uses_named(uses)) {
        if (use_of(use).decomposes || asks_by_itself(use)) {
            out.push_back(use);
        }
    }
    return out;
}

void address(const Askers& askers, Result& result) {
    if (result.status != Status::fail) {
        return;
    }
    if (result.matters.empty()) {
        result.matters = askers.uses;
    }
    const auto matters = uses_named(result.matters);
    if (!askers.when.empty() && !std::all_of(matters.begin(), matters.end(), asks_by_itself)) {
        result.unless = askers.when + (result.unless.empty() ? "" : ": " + result.unless);
    }
}

}  // namespace

bool fully_periodic(const System& system) { return system.pbc[0] && system.pbc[1] && system.pbc[2]; }

std::vector<Kind> kinds_of(Context& context) {
    std::vector<Kind> out;
    if (context.capabilities().per_atom()) {
        out.push_back(Kind::atom);
    }
    if (context.target().per_system) {
        out.push_back(Kind::system);
    }
    return out;
}

const ValueFacts& facts_of(Context& context) {
    auto& facts = context.value_facts();
    if (!facts.blocks.empty() || !facts.problems.empty()) {
        return facts;
    }
    Spread spread;
    for (const auto& system : systems_for(context)) {
        try {
            const auto values = first_values(context, system, facts);
            if (!finite(values)) {
                facts.problems.emplace_back(system.name, "the values are not finite");
                continue;
            }
            spread.add(system, values, facts.numbers);
            facts.systems.push_back(system);
        } catch (const std::exception& error) {
            facts.throws = facts.throws || facts.problems.empty();
            facts.problems.emplace_back(system.name, explain(error));
        }
    }
    if (facts.systems.empty() && facts.problems.empty()) {
        facts.problems.emplace_back("", "there is no system to ask about");
    }
    // The golden pack speaks of each atom, and the file only of systems.
    if (facts.blocks.empty() && facts.problems.empty()) {
        facts.problems.emplace_back("", "the file gives no values of atoms, of which the golden pack speaks");
        facts.systems.clear();
    }
    spread.write(context.capabilities(), facts);
    return facts;
}

ValueReader::ValueReader(Context& context):
    facts_(facts_of(context)),
    per_system_(context.target().per_system),
    per_atom_(context.capabilities().per_atom()),
    additive_(context.target().additive),
    place_(standard_quantity(context.target().name) != nullptr && standard_quantity(context.target().name)->place &&
           facts_.numbers == 3),
    dtype_(context.capabilities().dtype) {}

Call ValueReader::call_of(const System& system) {
    Call call;
    call.systems = {system};
    call.gradients = false;
    return call;
}

Values ValueReader::values(Model& model, Call call) const {
    Values out;
    if (per_atom_) {
        call.kind = Kind::atom;
        out.atoms = rows_by_atom(model.evaluate(call), 0, call.systems.at(0).size(), facts_.numbers);
    }
    if (per_system_) {
        call.kind = Kind::system;
        out.total = model.evaluate(call).values;
    }
    return out;
}

Values ValueReader::values(Model& model, const std::vector<Domain>& domains, size_t n_atoms) const {
    Values out;
    const size_t numbers = facts_.numbers;
    if (per_atom_) {
        out.atoms.assign(n_atoms * numbers, std::nan(""));
    }
    if (per_system_ && additive_) {
        out.total.assign(numbers, 0.0);
    }
    for (const auto& domain : domains) {
        auto call = call_of(domain.system);
        call.pairs = {domain.pairs};
        call.select = Select::listed;
        for (size_t i = 0; i < domain.n_local; ++i) {
            call.selected.emplace_back(0, int32_t(i));
        }
        if (per_atom_) {
            call.kind = Kind::atom;
            const auto answer = model.evaluate(call);
            for (size_t row = 0; row < answer.samples.size(); ++row) {
                const auto& sample = answer.samples[row];
                const auto atom = sample.size() == 2 ? sample[1] : -1;
                // An engine adds a row to whatever atom its label names.
                for (size_t p = 0; p < numbers && atom >= 0 && size_t(atom) < domain.n_local; ++p) {
                    out.atoms[domain.origin[size_t(atom)] * numbers + p] =
                        answer.values.at(row * numbers + p) - (place_ ? domain.system.positions[size_t(atom)][p] : 0.0);
                }
            }
        }
        if (per_system_ && additive_) {
            call.kind = Kind::system;
            const auto answer = model.evaluate(call);
            for (size_t p = 0; p < numbers; ++p) {
                out.total[p] += answer.values.at(p);
            }
        }
    }
    return out;
}

Values ValueReader::undivided(Model& model, const System& system) const {
    auto out = values(model, system);
    for (size_t k = 0; place_ && k < out.atoms.size(); ++k) {
        out.atoms[k] -= system.positions[k / 3][k % 3];
    }
    if (!additive_) {
        out.total.clear();
    }
    return out;
}

void ValueReader::compare(
    Comparison& comparison, const Values& a, const Values& b, Agreement agreement, const std::string& where, double extra
) const {
    const double tolerance = facts_.rounding + facts_.scale * (extra + relative_tolerance(agreement, dtype_));
    if (a.atoms.size() != b.atoms.size() || a.total.size() != b.total.size()) {
        comparison.add(std::nan(""), tolerance, "number of values of " + where);
        return;
    }
    for (size_t k = 0; k < a.atoms.size(); ++k) {
        const double difference = a.atoms[k] - b.atoms[k];
        // The text is only built when it is needed: features have many numbers.
        const bool worse = !(std::abs(difference) <= std::min(comparison.ratio(), 1.0) * tolerance);
        if (comparison.empty() || worse) {
            comparison.add(difference, tolerance, "value of atom " + std::to_string(k / facts_.numbers) + " of " + where);
        }
    }
    const double atoms = std::max<double>(1.0, double(a.atoms.size()) / double(std::max<size_t>(1, facts_.numbers)));
    for (size_t p = 0; p < a.total.size(); ++p) {
        comparison.add(a.total[p] - b.total[p], tolerance * (1.0 + std::sqrt(atoms)), "value of " + where);
    }
}

bool finite(const Values& values) {
    const auto sound = [](double value) { return std::isfinite(value); };
    return std::all_of(values.atoms.begin(), values.atoms.end(), sound) &&
           std::all_of(values.total.begin(), values.total.end(), sound);
}

Askers askers_of(Context& context) {
    const auto& output = context.target().name;
    const auto quantity = quantity_of(output);
    // Every output can be asked for by `compute metatomic`, and as an additional output in ASE and torch-sim.
    Askers out{{"ase", "torch-sim", "lammps:compute"}, "'" + output + "' is asked for"};
    const auto add = [&](std::vector<std::string> uses, const std::string& when) {
        out.uses.insert(out.uses.end(), uses.begin(), uses.end());
        out.when = when.empty() ? out.when : when;
    };
    if (quantity == "non_conservative_force" || quantity == "non_conservative_stress") {
        add({"lammps", "ipi", "gromacs", "eon"}, "forces are non-conservative");
    } else if (quantity == "energy_uncertainty") {
        add({"lammps", "ipi", "gromacs", "eon"}, "uncertainties are used");
    } else if (quantity == "energy_ensemble") {
        add({"ipi"}, "the ensemble is used");
    } else if (quantity == "feature") {
        add({"plumed"}, "features are used");
    } else if (quantity == "position" || quantity == "momentum") {
        add({"lammps:fix"}, "");
    }
    if (!context.has_energy()) {
        out.when.clear();
    }
    return out;
}

std::function<std::vector<Result>(Context&)> about_values(
    std::vector<Result> (*run)(Context&), std::vector<std::string> names
) {
    return [run, names](Context& context) {
        std::vector<Result> out;
        try {
            if (!names.empty() && facts_of(context).systems.empty()) {
                for (const auto& name : names) {
                    out.push_back(skipped(name, "the model gives no values of this output, see SCHEMA/values"));
                }
                return out;
            }
            out = run(context);
        } catch (const std::exception& error) {
            out = {failed(names.empty() ? "values" : names.front(), "the model fails", error).as(Severity::stops)};
        }
        for (auto& result : out) {
            address(askers_of(context), result);
        }
        return out;
    };
}

Result among_selected(Context& context, Result result) {
    if (result.status == Status::fail && result.matters.empty()) {
        result.matters = selecting(askers_of(context).uses);
    }
    return result;
}

}  // namespace mtt
