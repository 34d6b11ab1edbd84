// Calls of an exported model with a clock beside them, as LAMMPS makes them: without Python, on one rank or on each of
// several in turn. tests/benchmarks/exported_call.py starts it.
//
//     mtt-calls model.pt THREADS
//
// Each line of the input is a periodic box in JSON: types, positions and cell in angstrom, and grid, the number of
// domains along each axis. It is answered by a line with the wall time and processor time of a call of each domain
// (s; energy, forces and strain), the energy (eV), the number of atoms with ghosts, all summed over domains, and the
// peak of memory so far (MB). Neighbor lists are made beforehand. Files must be of trusted origin: there is no sandbox.
#include <algorithm>
#include <ctime>
#include <iostream>

#include <nlohmann/json.hpp>

#include "mtt/isolation/machine.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/domains.hpp"
#include "mtt/runner/clock.hpp"

namespace {

using Grid = std::array<int, 3>;
using mtt::operator*;

std::vector<mtt::Call> calls_for(const mtt::Model& model, const nlohmann::json& asked) {
    const auto& capabilities = model.capabilities();
    mtt::System system;
    system.types = asked.at("types").get<std::vector<int32_t>>();
    system.positions = asked.at("positions").get<std::vector<mtt::Vec3>>();
    system.cell = asked.at("cell").get<mtt::Mat3>();
    system.pbc = {true, true, true};
    for (auto& position : system.positions) {
        position = capabilities.angstrom * position;
    }
    for (auto& vector : system.cell) {
        vector = capabilities.angstrom * vector;
    }
    std::vector<mtt::Call> calls;
    const auto grid = asked.at("grid").get<Grid>();
    if (grid == Grid{1, 1, 1}) {
        calls.emplace_back();
        calls.back().systems = {system};
        calls.back().pairs.emplace_back();
        for (const auto& request : model.requests()) {
            calls.back().pairs.back().push_back(mtt::build_pairs(system, request));
        }
    } else {
        for (const auto& domain : decompose(system, grid, capabilities.interaction_range, model.requests(), 0)) {
            calls.push_back(call_of(domain, mtt::Kind::system));
        }
    }
    for (auto& call : calls) {
        call.energy_unit = "eV";
        for (auto& list : call.pairs.back()) {  // LAMMPS goes through its atoms one by one
            std::stable_sort(list.begin(), list.end(), [](const auto& one, const auto& other) {
                return one.first < other.first;
            });
        }
    }
    return calls;
}

nlohmann::json timed(mtt::Model& model, const std::vector<mtt::Call>& calls) {
    const auto start = mtt::Clock::now();
    const auto processor = std::clock();
    double energy = 0.0;
    size_t atoms = 0;
    for (const auto& call : calls) {
        energy += mtt::single_row(model.evaluate(call));
        atoms += call.systems.front().size();
    }
    return {
        {"wall", mtt::seconds_since(start)},
        {"processor", double(std::clock() - processor) / CLOCKS_PER_SEC},
        {"peak", double(mtt::peak_resident_bytes()) / (1 << 20)},
        {"energy", energy},
        {"with ghosts", atoms},
    };
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: mtt-calls model.pt THREADS\n";
        return 2;
    }
    try {
        const auto session = mtt::prepare_torch(std::stoi(argv[2]));
        const auto model = mtt::load_model(std::make_shared<const mtt::Archive>(argv[1]), {}, {});
        std::string line;
        std::string last;
        std::vector<mtt::Call> calls;
        while (std::getline(std::cin, line)) {
            if (line != last) {
                calls = calls_for(*model, nlohmann::json::parse(line));
                last = line;
            }
            std::cout << timed(*model, calls) << std::endl;
        }
    } catch (const std::exception& error) {
        std::cerr << "mtt-calls: " << mtt::explain(error) << "\n";
        return 2;
    }
    return 0;
}
