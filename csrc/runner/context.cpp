#include "mtt/runner/context.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <limits>
#include <set>

#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/generate.hpp"

namespace mtt {

namespace {

constexpr uint64_t seed = 20240501;
constexpr size_t largest_system = 64;
/// Angstrom: far less than atoms move in a simulation, and enough that no two runs ask for the same numbers.
constexpr double noise = 0.002;

/// Outputs beside energies and golden targets, so that one model does not take hours.
size_t most_other_outputs(Level level) {
    constexpr size_t at_quick = 8;
    constexpr size_t at_full = 32;
    return level == Level::quick ? at_quick : (level == Level::full ? at_full : std::numeric_limits<size_t>::max());
}

}  // namespace

std::unique_ptr<Model> Context::fresh() {
    if (state_before_.empty()) {
        state_before_ = host_->state();
    }
    auto out = host_->load();
    if (target_.has_value()) {
        out->ask_for(target_->name);
    }
    return out;
}

void Context::forget_instances() {
    model_.reset();
    precise_.reset();
    precise_fits_.clear();
    state_before_.clear();
    known_.clear();
}

Model& Context::model() {
    if (model_ == nullptr) {
        model_ = fresh();
    }
    return *model_;
}

/// With `--variant`, only that one of quantities which have variants.
bool Context::of_wanted_variant(const std::string& output) const {
    if (mode_.variant.empty() || variant_of(output) == mode_.variant) {
        return true;
    }
    const auto& outputs = model_->capabilities().outputs;
    return std::none_of(outputs.begin(), outputs.end(), [&](const OutputInfo& other) {
        return quantity_of(other.name) == quantity_of(output) && variant_of(other.name) == mode_.variant;
    }) && !is_energy(output);
}

void Context::add_target(const Target& target) {
    const auto& outputs = capabilities().outputs;
    const auto same = [&](const auto& item) { return current_name(item.name) == current_name(target.name); };
    if (std::none_of(targets_.begin(), targets_.end(), same) && std::any_of(outputs.begin(), outputs.end(), same) &&
        of_wanted_variant(target.name)) {
        targets_.push_back(target);
    }
}

void Context::add_other_outputs() {
    size_t added = 0;
    auto outputs = distinct_outputs(capabilities().outputs);
    // What engines know by name comes first, in case there are too many.
    std::stable_partition(outputs.begin(), outputs.end(), [](const OutputInfo& output) {
        return standard_quantity(output.name) != nullptr;
    });
    for (const auto& output : outputs) {
        const auto same = [&](const Target& target) { return current_name(target.name) == current_name(output.name); };
        if (std::any_of(targets_.begin(), targets_.end(), same)) {
            continue;
        }
        const auto* standard = standard_quantity(output.name);
        if (output.sample_kind != "atom" && output.sample_kind != "system") {
            left_out_.emplace_back(output.name, "its rows belong to '" + output.sample_kind + "'");
        } else if (!of_wanted_variant(output.name)) {
            left_out_.emplace_back(output.name, "it is of another variant");
        } else if (added == most_other_outputs(level())) {
            left_out_.emplace_back(output.name, std::string("too many for the level ") + name_of(level()));
        } else {
            ++added;
            targets_.push_back({.name = output.name, .quantity = quantity_of(output.name), .unit = "",
                                .per_system = output.sample_kind == "system",
                                .additive = standard != nullptr && standard->additive,
                                .per_volume = standard != nullptr && standard->per_volume, .described = false,
                                .gradients = false});
        }
    }
}

const std::vector<Target>& Context::targets() {
    if (!targets_.empty()) {
        return targets_;
    }
    left_out_.clear();
    const auto& outputs = capabilities().outputs;
    if (const auto* pack = golden()) {
        for (const auto& item : pack->targets) {
            add_target(item.target);
        }
    }
    for (const auto& output : outputs) {
        if (is_energy(output.name)) {
            add_target({.name = output.name, .unit = ""});
        }
    }
    // Those of models in tests have an energy and list no outputs.
    if (outputs.empty() && !capabilities().energy_output.empty()) {
        targets_.push_back({.name = capabilities().energy_output, .unit = ""});
    }
    add_other_outputs();
    const std::string first = mode_.variant.empty() ? first_energy(outputs) : "energy/" + mode_.variant;
    std::stable_partition(targets_.begin(), targets_.end(), [&](const Target& item) { return item.name == first; });
    return targets_;
}

bool Context::has_energy() {
    const auto& all = targets();
    return std::any_of(all.begin(), all.end(), [](const Target& target) { return target.gradients; });
}

void Context::use(const Target& target) {
    target_ = target;
    for (auto* instance : {model_.get(), precise_.get()}) {
        if (instance != nullptr) {
            instance->ask_for(target.name);
        }
    }
}

const Target& Context::target() {
    if (!target_.has_value() && targets().empty()) {
        throw EngineError("the model has no outputs");
    }
    return target_.has_value() ? *target_ : targets().front();
}

const GoldenTarget* Context::golden_target() {
    const auto* pack = golden();
    if (pack == nullptr) {
        return nullptr;
    }
    // Files of format 1 name the one energy that they have in a way of their own.
    if (pack->format == 1 && target().name == targets().front().name) {
        return &pack->targets.front();
    }
    for (const auto& item : pack->targets) {
        if (item.target.name == target().name) {
            return &item;
        }
    }
    return nullptr;
}

bool Context::is_precise() {
    try {
        if (precise_fits_.empty()) {
            precise_ = model().widened();
        }
        if (precise_ == nullptr) {
            return false;
        }
        for (const auto& system : systems()) {
            const auto& narrow = reference(system);
            const auto limit = budget(Agreement::parity, capabilities(), system, narrow);
            Comparison comparison;
            comparison.forces(evaluate(*precise_, system).forces, narrow.forces, limit, system.name);
            if (!comparison.passed()) {
                return false;
            }
        }
        return true;
    } catch (const std::exception&) {
        return false;  // code that mixes precisions does not run; its own precision has to do
    }
}

Model& Context::precise() {
    const auto& output = capabilities().energy_output;
    if (precise_fits_.count(output) == 0) {
        const bool fits = is_precise();
        precise_fits_[output] = fits;
    }
    return precise_fits_.at(output) ? *precise_ : model();
}

void Context::read_golden() {
    if (golden_read_) {
        return;
    }
    golden_read_ = true;
    const auto* file = archive();
    if (file == nullptr || !file->has(golden_record)) {
        return;
    }
    try {
        golden_ = parse_golden(file->read(golden_record));
    } catch (const std::exception& error) {
        golden_error_ = explain(error);
    }
}

const GoldenPack* Context::golden() {
    read_golden();
    return golden_.has_value() ? &*golden_ : nullptr;
}

const std::string& Context::golden_error() {
    read_golden();
    return golden_error_;
}

double Context::golden_length_factor() {
    const auto* pack = golden();
    if (pack == nullptr || capabilities().length_unit.empty() || pack->length_unit == capabilities().length_unit) {
        return 1.0;
    }
    return unit_factor(pack->length_unit, capabilities().length_unit);
}

double Context::cutoff() {
    double out = 0.0;
    for (const auto& request : model().requests()) {
        out = std::max(out, request.cutoff);
    }
    return out;
}

std::vector<int32_t> Context::types() {
    std::set<int32_t> chosen;
    const auto& declared = capabilities().atomic_types;
    if (const auto* pack = golden()) {
        for (const auto& system : pack->systems) {
            for (const int32_t type : system.types) {
                if (std::find(declared.begin(), declared.end(), type) != declared.end()) {
                    chosen.insert(type);
                }
            }
        }
    }
    if (chosen.empty()) {
        // Of a model for the whole periodic table, a spread of at most four.
        const size_t step = std::max<size_t>(1, declared.size() / 4);
        for (size_t k = 0; k < declared.size() && chosen.size() < 4; k += step) {
            chosen.insert(int32_t(declared[k]));
        }
    }
    return {chosen.begin(), chosen.end()};
}

double Context::spacing() {
    const double typical = 1.1 * typical_distance(types()) * capabilities().angstrom;
    // Close enough that nearest neighbors interact well inside the cutoff, and not so close that a long one
    // costs the memory of the machine: no engine has time for so many neighbors.
    return cutoff() > 0 ? std::clamp(typical, std::cbrt(1.0 / densest(1000)), 0.62 * cutoff()) : typical;
}

double Context::sparse_spacing() {
    constexpr double neighbors = 24;
    return std::max(spacing(), std::cbrt(1.0 / densest(neighbors)));
}

double Context::stride() {
    // Places are up to a tenth off in each direction, so neighbors up to two tenths.
    constexpr double off = 0.2;
    const double steps = std::floor(cutoff() / spacing() - off);
    return std::clamp(cutoff() / (std::max(1.0, steps) + off), spacing(), std::max(spacing(), 0.62 * cutoff()));
}

double Context::densest(double neighbors) {
    const double sphere = 4.0 / 3.0 * std::numbers::pi * std::pow(cutoff(), 3);
    return neighbors / std::max(sphere, 1e-300);
}

std::vector<size_t> Context::drawn_order(size_t n) {
    std::vector<size_t> out(n);
    for (size_t k = 0; k < n; ++k) {
        out[k] = k;
    }
    std::mt19937_64 random(mode_.seed);
    for (size_t k = n; mode_.seed > 0 && k > 1; --k) {
        std::swap(out[k - 1], out[uniform_index(random, k)]);
    }
    return out;
}

const std::vector<System>& Context::systems() {
    if (systems_.empty()) {
        complete_systems();
        std::mt19937_64 random(mode_.seed);
        for (auto& system : systems_) {
            if (mode_.seed > 0) {
                system = rattled(system, noise * capabilities().angstrom, random);
            }
        }
    }
    return systems_;
}

const System& Context::small_cell() {
    if (!small_cell_.has_value()) {
        std::mt19937_64 random(seed);
        // All types, where there are few of them.
        const int across = types().size() > 4 ? 2 : 1;
        small_cell_ = crystal(types(), {across, 2, 2}, sparse_spacing(), 0.2, random);
        small_cell_->name = "generated small cell";
        // Of the pack's own states: those of one batch differ.
        const auto& all = systems();
        const auto periodic = std::find_if(all.begin(), all.end(), [](const System& system) { return system.periodic(); });
        if (periodic != all.end()) {
            small_cell_->charge = periodic->charge;
            small_cell_->spin_multiplicity = periodic->spin_multiplicity;
        }
        std::mt19937_64 moving(mode_.seed);
        if (mode_.seed > 0) {
            small_cell_ = rattled(*small_cell_, noise * capabilities().angstrom, moving);
        }
    }
    return *small_cell_;
}

const Properties& Context::reference(const System& system) {
    const auto& output = capabilities().energy_output;
    for (const auto& known : known_) {
        if (known->output == output && known->system == system) {
            return known->properties;
        }
    }
    known_.push_back(std::make_unique<Known>(Known{output, system, evaluate(model(), system)}));
    return known_.back()->properties;
}

size_t Context::pairs_of(const System& system) {
    size_t out = 0;
    for (const auto& request : model().requests()) {
        out += build_pairs(system, request).size();
    }
    return out;
}

/// Those of the golden pack, and generated ones where it lacks a kind.
void Context::complete_systems() {
    bool molecule = false;
    bool triclinic = false;
    if (const auto* pack = golden()) {
        const double factor = golden_length_factor();
        for (const auto& system : pack->systems) {
            if (system.size() < 2 || system.size() > largest_system) {
                continue;
            }
            systems_.push_back(deformed(system, {{{factor, 0, 0}, {0, factor, 0}, {0, 0, factor}}}));
            molecule = molecule || !system.periodic();
            const auto& c = system.cell;
            triclinic = triclinic || (system.pbc[0] && system.pbc[1] && system.pbc[2] &&
                                      std::abs(c[0][1]) + std::abs(c[1][0]) + std::abs(c[2][0]) > 0.01);
        }
    }
    std::mt19937_64 random(seed);
    if (!molecule) {
        systems_.push_back(cluster(types(), {2, 2, 2}, spacing(), random));
    }
    if (!triclinic) {
        systems_.push_back(crystal(types(), {2, 2, 3}, spacing(), 0.25, random));
    }
    // One that every model can be asked about and no pack is likely to hold: a slab.
    auto slab = crystal(types(), {2, 3, 2}, spacing(), 0.0, random);
    slab.name = "generated slab";
    slab.pbc[2] = false;
    slab.cell[2] = {0, 0, 0};
    systems_.push_back(slab);
}

}  // namespace mtt
