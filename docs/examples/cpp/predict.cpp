// What a model file says of a molecule: energy, its uncertainty, what each member of an ensemble says, and forces.
// No Python, and nothing of mtt, takes part. It runs on the CPU.
//
//     predict model.pt molecule.xyz
//
// The file must be of trusted origin: nothing confines the code in it. `mtt verify` does.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <metatensor/torch.hpp>
#include <metatomic/torch.hpp>
#include <torch/script.h>

struct Molecule {
    std::vector<std::string> symbols;
    std::vector<double> positions;  // angstrom; x, y and z of each atom
};

double number(const std::string& word) {
    size_t used = 0;
    double value = 0.0;
    try {
        value = std::stod(word, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != word.size() || !std::isfinite(value)) {
        throw std::runtime_error("'" + word + "' is no number");
    }
    return value;
}

/// The first molecule of an XYZ file with the columns symbol, x, y and z.
Molecule read(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
        throw std::runtime_error(path + " cannot be read");
    }
    std::string line;
    std::getline(file, line);
    const auto count = int64_t(number(line.substr(0, line.find_last_not_of(" \t\r") + 1)));
    std::getline(file, line);
    if (line.find("Lattice=") != std::string::npos) {
        throw std::runtime_error(path + " is periodic; this program takes molecules");
    }
    Molecule out;
    while (int64_t(out.symbols.size()) < count && std::getline(file, line)) {
        std::istringstream words(line);
        std::string symbol, x, y, z;
        words >> symbol >> x >> y >> z;
        out.symbols.push_back(symbol);
        out.positions.insert(out.positions.end(), {number(x), number(y), number(z)});
    }
    if (out.symbols.empty() || int64_t(out.symbols.size()) != count) {
        throw std::runtime_error(path + " has other than the atoms that its first line promises");
    }
    return out;
}

int32_t atomic_number(const std::string& symbol) {
    static const std::vector<std::string> known = {"H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",
                                                   "Ne", "Na", "Mg", "Al", "Si", "P",  "S",  "Cl", "Ar"};
    const auto found = std::find(known.begin(), known.end(), symbol);
    if (found == known.end()) {
        throw std::runtime_error("add the element '" + symbol + "' to the table of predict.cpp");
    }
    return int32_t(found - known.begin()) + 1;
}

/// The neighbors that a model asks for, without periodicity: each pair as often as the model wants it, and its vector.
metatensor_torch::TensorBlock neighbors(
    const Molecule& molecule, const metatomic_torch::NeighborListOptions& wanted, torch::Dtype dtype
) {
    const auto count = int32_t(molecule.symbols.size());
    const double cutoff = wanted->engine_cutoff("angstrom");
    std::vector<int32_t> samples;
    std::vector<double> vectors;
    for (int32_t first = 0; first < count; ++first) {
        for (int32_t second = wanted->full_list() ? 0 : first + 1; second < count; ++second) {
            std::array<double, 3> vector{};
            for (size_t d = 0; d < 3; ++d) {
                vector[d] = molecule.positions[3 * second + d] - molecule.positions[3 * first + d];
            }
            if (first != second && std::hypot(vector[0], vector[1], vector[2]) <= cutoff) {
                samples.insert(samples.end(), {first, second, 0, 0, 0});
                vectors.insert(vectors.end(), vector.begin(), vector.end());
            }
        }
    }
    const torch::IValue names =
        std::vector<std::string>{"first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"};
    return torch::make_intrusive<metatensor_torch::TensorBlockHolder>(
        torch::tensor(vectors, torch::kFloat64).reshape({-1, 3, 1}).to(dtype),
        torch::make_intrusive<metatensor_torch::LabelsHolder>(
            names, torch::tensor(samples, torch::kInt32).reshape({-1, 5})
        ),
        std::vector<metatensor_torch::Labels>{metatensor_torch::LabelsHolder::create({"xyz"}, {{0}, {1}, {2}})},
        metatensor_torch::LabelsHolder::create({"distance"}, {{0}})
    );
}

void predict(const char* path, const Molecule& molecule) {
    auto model = metatomic_torch::load_atomistic_model(path);
    const auto capabilities =
        model.run_method("capabilities").toCustomClass<metatomic_torch::ModelCapabilitiesHolder>();
    const auto dtype = capabilities->dtype() == "float64" ? torch::kFloat64 : torch::kFloat32;

    if (!capabilities->outputs().contains("energy")) {
        throw std::runtime_error(std::string(path) + " has no output 'energy'");
    }
    const auto& known = capabilities->atomic_types;
    std::vector<int32_t> types;
    for (const auto& symbol : molecule.symbols) {
        types.push_back(atomic_number(symbol));
        if (std::find(known.begin(), known.end(), types.back()) == known.end()) {
            throw std::runtime_error(std::string(path) + " knows no " + symbol);
        }
    }
    const auto positions =
        torch::tensor(molecule.positions, torch::kFloat64).reshape({-1, 3}).to(dtype).requires_grad_(true);
    const auto system = torch::make_intrusive<metatomic_torch::SystemHolder>(
        torch::tensor(types, torch::kInt32), positions, torch::zeros({3, 3}, dtype),
        torch::zeros({3}, torch::kBool)  // no cell, not periodic
    );
    const auto requested = model.run_method("requested_neighbor_lists");
    for (const torch::IValue& item : requested.toListRef()) {
        const auto wanted = item.toCustomClass<metatomic_torch::NeighborListOptionsHolder>();
        auto block = neighbors(molecule, wanted, dtype);
        metatomic_torch::register_autograd_neighbors(system, block, /*check_consistency=*/false);
        system->add_neighbor_list(wanted, block);
    }

    auto options = torch::make_intrusive<metatomic_torch::ModelEvaluationOptionsHolder>();
    options->set_length_unit("angstrom");
    for (const auto& name : {"energy", "energy_uncertainty", "energy_ensemble"}) {
        if (capabilities->outputs().contains(name)) {
            auto output = torch::make_intrusive<metatomic_torch::ModelOutputHolder>();
            output->set_unit("eV");  // whatever the unit of the model is
            output->set_sample_kind("system");
            options->outputs.insert(name, output);
        }
    }
    const auto answer =
        model.forward({std::vector<metatomic_torch::System>{system}, options, /*check_consistency=*/true})
            .toGenericDict();
    const auto values = [&](const std::string& name) {
        const auto map = answer.at(name).toCustomClass<metatensor_torch::TensorMapHolder>();
        return metatensor_torch::TensorMapHolder::block_by_id(map, 0)->values();
    };

    std::cout << std::setprecision(dtype == torch::kFloat64 ? 12 : 7);
    std::cout << "energy " << values("energy").item<double>() << " eV\n";
    if (answer.contains("energy_uncertainty")) {
        std::cout << "uncertainty " << values("energy_uncertainty").item<double>() << " eV\n";
    }
    if (answer.contains("energy_ensemble")) {
        const auto members = values("energy_ensemble").to(torch::kFloat64).flatten();
        std::cout << "spread of " << members.numel() << " members " << members.std().item<double>() << " eV\n";
    }
    values("energy").sum().backward();
    const auto forces = (-positions.grad()).to(torch::kFloat64);
    for (int64_t atom = 0; atom < forces.size(0); ++atom) {
        const auto* force = forces[atom].data_ptr<double>();
        std::cout << "force on " << molecule.symbols[atom] << " " << force[0] << " " << force[1] << " " << force[2]
                  << " eV/angstrom\n";
    }
}

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: predict model.pt molecule.xyz\n";
        return 2;
    }
    try {
        predict(argv[1], read(argv[2]));
    } catch (const c10::Error& error) {
        std::cerr << "predict: " << error.what_without_backtrace() << "\n";
        return 1;
    } catch (const std::exception& error) {
        std::cerr << "predict: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
