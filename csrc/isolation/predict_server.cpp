// Numbers of a model for programs that have many structures: `mtt-verify --predict MODEL`, which `mtt eval` talks to. The
// model runs in the same sandbox as in a verification.
//
// Both ways a frame is eight bytes of length, eight bytes of length of a JSON document, the document, then arrays as they
// lie in memory. Request: {"systems": [{"atoms": N, "pbc": [..], "charge", "spin_multiplicity"}], "outputs": [{"name", "per", "gradients"}]}, with types
// (int32), positions and cell (float64) of each system. Answer: {"outputs": [{"columns": P}]}, with rows, forces and
// strain (float64) of each output; or {"error": text}. The first answer, without a request, is about the model.
#include <unistd.h>

#include <cstring>
#include <limits>

#include <nlohmann/json.hpp>

#include "mtt/model/torch_model.hpp"
#include "mtt/isolation/process.hpp"
#include "mtt/isolation/remote.hpp"
#include "mtt/isolation/wire.hpp"
#include "mtt/supervisor.hpp"

namespace mtt {

namespace {

using nlohmann::json;

struct Request {
    std::vector<System> systems;
    std::vector<Wanted> wanted;
};

/// From our own side of the pipe, so a mistake is a bug and no attack; bounds are kept all the same.
class Arrays {
public:
    Arrays(const std::string& bytes, size_t at): bytes_(bytes), at_(at) {}
    template <class T>
    void take(T* data, size_t count) {
        if (count > (bytes_.size() - at_) / sizeof(T)) {
            throw std::runtime_error("a request with too few bytes");
        }
        std::memcpy(data, bytes_.data() + at_, count * sizeof(T));
        at_ += count * sizeof(T);
    }

private:
    const std::string& bytes_;
    size_t at_;
};

std::optional<Request> read_request() {
    uint64_t size = 0;
    if (!read_all(STDIN_FILENO, reinterpret_cast<char*>(&size), sizeof size)) {
        return std::nullopt;
    }
    std::string bytes(size, '\0');
    uint64_t header = 0;
    if (!read_all(STDIN_FILENO, bytes.data(), size) || size < sizeof header) {
        return std::nullopt;
    }
    std::memcpy(&header, bytes.data(), sizeof header);
    const auto document = json::parse(bytes.substr(sizeof header, header));
    Arrays arrays(bytes, sizeof header + header);
    Request out;
    for (const auto& item : document.at("systems")) {
        System system;
        const auto atoms = item.at("atoms").get<size_t>();
        system.pbc = item.at("pbc").get<std::array<bool, 3>>();
        system.charge = item.value("charge", system.charge);
        system.spin_multiplicity = item.value("spin_multiplicity", system.spin_multiplicity);
        system.types.resize(atoms);
        system.positions.resize(atoms);
        arrays.take(system.types.data(), atoms);
        arrays.take(reinterpret_cast<double*>(system.positions.data()), 3 * atoms);
        arrays.take(system.cell[0].data(), 9);
        out.systems.push_back(std::move(system));
    }
    for (const auto& item : document.at("outputs")) {
        out.wanted.push_back({item.at("name").get<std::string>(), item.at("per").get<std::string>() == "atom",
                              item.at("gradients").get<bool>()});
    }
    return out;
}

void answer(const json& document, const std::vector<Prediction>& arrays = {}) {
    const std::string text = dump(document);
    std::string content;
    const auto append = [&content](const std::vector<double>& values) {
        content.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    };
    const uint64_t header = text.size();
    content.append(reinterpret_cast<const char*>(&header), sizeof header);
    content += text;
    for (const auto& item : arrays) {
        append(item.rows);
        append(item.forces);
        append(item.strain);
    }
    if (!write_all(STDOUT_FILENO, framed(content))) {
        throw std::runtime_error("the program that asks has gone away");
    }
}

json about(const Capabilities& model, const Isolation& isolation) {
    json outputs = json::array();
    for (const auto& output : model.outputs) {
        outputs.push_back({{"name", output.name}, {"unit", output.unit}, {"sample_kind", output.sample_kind},
                           {"description", output.description}});
    }
    json inputs = json::array();
    for (const auto& input : model.requested_inputs) {
        // Total charges and those of atoms have one name.
        const bool of_atoms = input.name == "charge" && input.sample_kind == "atom";
        inputs.push_back(of_atoms ? "charge of atoms" : input.name);
    }
    return {{"outputs", outputs}, {"atomic_types", model.atomic_types}, {"length_unit", model.length_unit},
            {"dtype", model.dtype}, {"requested_inputs", inputs}, {"isolation", to_json(isolation)}};
}

void serve(RemoteHost& host, bool widened) {
    host.begin();
    const auto archive = host.archive();
    if (archive->kind() != FileKind::metatomic) {
        throw std::runtime_error("this is " + describe(archive->kind()));
    }
    answer(about(host.open_predictor(widened), host.isolation()));
    while (const auto request = read_request()) {
        host.begin();
        try {
            const auto predictions = host.predict(request->systems, request->wanted);
            json outputs = json::array();
            for (const auto& item : predictions) {
                outputs.push_back({{"columns", item.columns}});
            }
            answer({{"outputs", outputs}}, predictions);
        } catch (const std::exception& error) {
            answer({{"error", explain(error)}});
        }
    }
    host.finish();
}

}  // namespace

int serve_predictions(VerifyOptions options, const Supervision& how, bool widened) {
    if (options.time_limit <= 0) {
        options.time_limit = 1e7;  // people look at the clock themselves, and know Ctrl-C
    }
    options.processes = 1;
    RemoteHost host(with_limits(options), how);
    try {
        serve(host, widened);
        return 0;
    } catch (const ModelProcessEnded& end) {
        answer({{"error", "the model " + end.reason}});
    } catch (const StrangeException&) {
        answer({{"error", "the model throws something that is no std::exception"}});
    } catch (const std::exception& error) {
        answer({{"error", explain(error)}});
    }
    return 3;
}

}  // namespace mtt
