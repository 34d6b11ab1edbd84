#include "mtt/model/read_answer.hpp"

#include <algorithm>
#include <map>

namespace mtt {

std::vector<double> to_doubles(const torch::Tensor& tensor) {
    const auto flat = tensor.detach().to(torch::kCPU, torch::kFloat64).reshape({-1}).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

namespace {

std::vector<std::vector<int32_t>> rows_of(const metatensor_torch::Labels& labels) {
    const auto values = labels->values().to(torch::kCPU, torch::kInt32).contiguous();
    std::vector<std::vector<int32_t>> out;
    for (int64_t row = 0; row < values.size(0); ++row) {
        const auto* begin = values.data_ptr<int32_t>() + row * values.size(1);
        out.emplace_back(begin, begin + values.size(1));
    }
    return out;
}

BlockLayout layout_of(const std::vector<int32_t>& key, const metatensor_torch::TensorBlock& block) {
    BlockLayout out;
    out.key = key;
    for (const auto& axis : block->components()) {
        std::string name;
        for (const auto& part : axis->names()) {
            name += (name.empty() ? "" : ", ") + part;
        }
        out.components.push_back(name);
        out.labels.emplace_back();
        for (const auto& label : rows_of(axis)) {
            out.labels.back().push_back(label.empty() ? 0 : label[0]);
        }
    }
    out.properties = uint64_t(block->properties()->count());
    return out;
}

std::string dtype_name(const torch::Tensor& values) {
    const auto type = values.scalar_type();
    return type == torch::kFloat32 ? "float32" : (type == torch::kFloat64 ? "float64" : c10::toString(type));
}

}  // namespace

void read_block(const metatensor_torch::TensorMap& map, Answer& answer) {
    answer.blocks = size_t(map->keys()->count());
    answer.key_names = map->keys()->names();
    const auto block = metatensor_torch::TensorMapHolder::block_by_id(map, 0);
    const auto values = block->values();
    answer.shape = values.sizes().vec();
    answer.dtype = dtype_name(values);
    answer.values = to_doubles(values);
    answer.sample_names = block->samples()->names();
    answer.property_names = block->properties()->names();
    answer.explicit_gradients = block->gradients_list();
    answer.samples = rows_of(block->samples());
    answer.layout = {layout_of(rows_of(map->keys()).at(0), block)};
}

Block read_extra(const metatensor_torch::TensorMap& map) {
    const auto block = metatensor_torch::TensorMapHolder::block_by_id(map, 0);
    const auto samples = block->samples();
    return {to_doubles(block->values()), block->values().sizes().vec(), samples->names(), rows_of(samples)};
}

void read_other_blocks(const metatensor_torch::TensorMap& map, Answer& answer) {
    std::map<std::vector<int32_t>, size_t> rows;
    for (const auto& sample : answer.samples) {
        rows.emplace(sample, rows.size());
    }
    std::vector<std::pair<std::vector<double>, std::vector<size_t>>> blocks = {{std::move(answer.values), {}}};
    for (size_t row = 0; row < answer.samples.size(); ++row) {
        blocks[0].second.push_back(row);
    }
    const auto keys = rows_of(map->keys());
    for (int64_t k = 1; k < int64_t(answer.blocks); ++k) {
        const auto block = metatensor_torch::TensorMapHolder::block_by_id(map, k);
        if (block->samples()->names() != answer.sample_names) {
            throw EngineError("the blocks of '" + map->keys()->names().front() + "' have samples of several kinds");
        }
        std::vector<size_t> places;
        for (const auto& sample : rows_of(block->samples())) {
            const auto [place, added] = rows.emplace(sample, rows.size());
            if (added) {
                answer.samples.push_back(sample);
            }
            places.push_back(place->second);
        }
        blocks.emplace_back(to_doubles(block->values()), places);
        answer.layout.push_back(layout_of(keys.at(size_t(k)), block));
    }
    uint64_t width = 0;
    for (const auto& layout : answer.layout) {
        width += layout.numbers();
    }
    answer.shape = {int64_t(answer.samples.size()), int64_t(width)};
    answer.values.assign(answer.samples.size() * width, 0.0);
    uint64_t column = 0;
    for (size_t k = 0; k < blocks.size(); ++k) {
        const auto& [values, places] = blocks[k];
        const uint64_t numbers = answer.layout[k].numbers();
        for (size_t row = 0; row < places.size(); ++row) {
            std::copy_n(values.begin() + std::ptrdiff_t(row * numbers), numbers,
                        answer.values.begin() + std::ptrdiff_t(places[row] * width + column));
        }
        column += numbers;
    }
}

}  // namespace mtt
