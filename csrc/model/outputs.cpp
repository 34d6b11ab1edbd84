#include "mtt/model/outputs.hpp"

#include <algorithm>
#include <map>

namespace mtt {

namespace {

const std::map<std::string, std::string>& current_names() {
    static const std::map<std::string, std::string> all = {
        {"features", "feature"}, {"non_conservative_forces", "non_conservative_force"}, {"positions", "position"},
        {"momenta", "momentum"}, {"masses", "mass"}, {"velocities", "velocity"}, {"charges", "charge"},
    };
    return all;
}

bool contains(const std::vector<OutputInfo>& outputs, const std::string& name) {
    return std::any_of(outputs.begin(), outputs.end(), [&](const auto& output) { return output.name == name; });
}

}  // namespace

const StandardQuantity* standard_quantity(const std::string& output) {
    static const std::vector<StandardQuantity> all = {
        {.name = "energy", .unit = "eV", .components = {}, .additive = true},
        {.name = "energy_ensemble", .unit = "eV", .components = {}, .additive = true},
        {.name = "energy_uncertainty", .unit = "eV", .components = {}},
        {.name = "non_conservative_force", .unit = "eV/angstrom", .components = {"xyz"}},
        {.name = "non_conservative_stress", .unit = "eV/angstrom^3", .components = {"xyz_1", "xyz_2"}, .additive = true,
         .per_volume = true},
        {.name = "feature", .unit = "", .components = {}},
        {.name = "position", .unit = "angstrom", .components = {"xyz"}, .place = true},
        {.name = "momentum", .unit = "u*angstrom/fs", .components = {"xyz"}},
        {.name = "velocity", .unit = "angstrom/fs", .components = {"xyz"}},
        {.name = "mass", .unit = "u", .components = {}},
        {.name = "charge", .unit = "e", .components = {}},
        {.name = "spin_multiplicity", .unit = "", .components = {}},
        {.name = "heat_flux", .unit = "eV*angstrom/fs", .components = {"xyz"}},
    };
    const auto quantity = quantity_of(output);
    const auto row = std::find_if(all.begin(), all.end(), [&](const auto& item) { return item.name == quantity; });
    return row == all.end() ? nullptr : &*row;
}

std::string quantity_of(const std::string& output) {
    const auto base = output.substr(0, output.find('/'));
    const auto current = current_names().find(base);
    return current == current_names().end() ? base : current->second;
}

std::string variant_of(const std::string& output) {
    const auto slash = output.find('/');
    return slash == std::string::npos ? "" : output.substr(slash + 1);
}

std::string current_name(const std::string& output) {
    const auto slash = output.find('/');
    return quantity_of(output) + (slash == std::string::npos ? "" : output.substr(slash));
}

bool is_energy(const std::string& output) { return quantity_of(output) == "energy"; }

bool is_energy_like(const std::string& output) {
    const auto quantity = quantity_of(output);
    return quantity == "energy" || quantity == "energy_uncertainty" || quantity == "energy_ensemble";
}

std::string first_energy(const std::vector<OutputInfo>& outputs) {
    if (contains(outputs, "energy")) {
        return "energy";
    }
    const auto variants = energy_variants(outputs);
    return variants.empty() ? "" : "energy/" + variants.front();
}

std::vector<std::string> energy_variants(const std::vector<OutputInfo>& outputs) {
    std::vector<std::string> out;
    for (const auto& output : outputs) {
        if (is_energy(output.name) && output.name != "energy") {
            out.push_back(variant_of(output.name));
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<OutputInfo> distinct_outputs(const std::vector<OutputInfo>& outputs) {
    std::vector<OutputInfo> out;
    for (const auto& output : outputs) {
        const auto current = current_name(output.name);
        if (current == output.name || !contains(outputs, current)) {
            out.push_back(output);
        }
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return out;
}

}  // namespace mtt
