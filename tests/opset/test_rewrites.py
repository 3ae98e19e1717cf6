"""Each rewrite as text: a program before, and after."""

from __future__ import annotations

import pytest

from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
from mlpasses.context import Context
from mlpasses.raising import RaiseOpset
from tests.opset.check import check, fragment, refusal


def test_default_of_a_new_parameter_is_written_out() -> None:
    check(
        """
        inputs %x: fp16[8], %i: int32[2]
        %y: fp16[2] = gather(x=%x, indices=%i, axis=0)
        """,
        """
        inputs %x: fp16[8], %i: int32[2]
        %y_batch_dims: int32 = const(0)
        %y: fp16[2] = gather(x=%x, indices=%i, axis=0, batch_dims=%y_batch_dims)
        """,
        IOS15, IOS16,
    )  # fmt: skip


def test_parameter_that_is_there_already_stays() -> None:
    text = """
        inputs %x: fp16[8], %i: int32[2]
        %y: fp16[2] = gather(x=%x, indices=%i, axis=0, batch_dims=0)
        """
    check(text, text, IOS15, IOS16)


def test_parameters_of_several_opsets_are_written_out_in_their_order() -> None:
    check(
        """
        inputs %x: fp16[8]
        %v: fp16[2], %i: int32[2] = topk(x=%x, k=2)
        """,
        """
        inputs %x: fp16[8]
        %v_sort: bool = const(true)
        %v_return_indices: bool = const(true)
        %v_output_indices_dtype: string = const("int32")
        %v: fp16[2], %i: int32[2] = topk(x=%x, k=2, sort=%v_sort, return_indices=%v_return_indices,
            output_indices_dtype=%v_output_indices_dtype)
        """,
        IOS15, IOS18,
    )  # fmt: skip


def test_topk_without_indices_has_no_type_for_them() -> None:
    text = """
        inputs %x: fp16[8]
        %v: fp16[2] = topk(x=%x, k=2, sort=true, return_indices=false)
        """
    check(text, text, IOS16, IOS17)


@pytest.mark.parametrize("op_type", ["reduce_argmax", "reduce_argmin"])
def test_index_of_an_extreme_states_its_type(op_type: str) -> None:
    check(
        f"""
        inputs %x: fp16[8, 3]
        %y: int32[8] = {op_type}(x=%x, axis=1)
        """,
        f"""
        inputs %x: fp16[8, 3]
        %y_output_dtype: string = const("int32")
        %y: int32[8] = {op_type}(x=%x, axis=1, output_dtype=%y_output_dtype)
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_default_has_the_type_of_its_domain() -> None:
    check(
        """
        inputs %x: fp16[1, 3, 8, 9], %r: fp16[2, 1, 5, 1, 1]
        %y: fp16[2, 1, 3, 2, 3] = crop_resize(x=%x, roi=%r, target_height=2, target_width=3)
        """,
        """
        inputs %x: fp16[1, 3, 8, 9], %r: fp16[2, 1, 5, 1, 1]
        %y_pad_value: fp16 = const(0.0)
        %y: fp16[2, 1, 3, 2, 3] = crop_resize(x=%x, roi=%r, target_height=2, target_width=3, pad_value=%y_pad_value)
        """,
        IOS15, IOS16,
    )  # fmt: skip


def test_gru_states_its_order_and_a_bias_of_zeros() -> None:
    gru = """
        inputs %x: fp16[5, 2, 3], %h: fp16[2, 1]
        %wi: fp16[3, 3] = const([[1.0, 0.5, 0.25], [1.0, 0.5, 0.25], [1.0, 0.5, 0.25]])
        %wh: fp16[3, 1] = const([[1.0], [0.5], [0.25]])
        """
    check(
        gru + "%y: fp16[1, 2, 1], %last: fp16[2, 1] = gru(x=%x, initial_h=%h, weight_ih=%wi, weight_hh=%wh)",
        gru
        + "%y_reset_after: bool = const(false)\n"
        + "%y_input_bias: fp16[3] = const([0.0, 0.0, 0.0])\n"
        + "%y: fp16[1, 2, 1], %last: fp16[2, 1] = gru("
        "x=%x, initial_h=%h, weight_ih=%wi, weight_hh=%wh, reset_after=%y_reset_after, input_bias=%y_input_bias)",
        IOS17, IOS18,
    )  # fmt: skip


@pytest.mark.parametrize("new", [IOS16, IOS17, IOS18, IOS26])
def test_upsample_bilinear_keeps_half_pixel_centers_absent(new: Opset) -> None:
    text = """
        inputs %x: fp16[1, 2, 4, 4]
        %y: fp16[1, 2, 8, 8] = upsample_bilinear(x=%x, scale_factor_height=2, scale_factor_width=2, align_corners=false)
        """
    check(text, text, IOS15, new)


def test_computed_indices_are_guarded() -> None:
    check(
        """
        inputs %x: fp16[8], %i: int32[2]
        %y: fp16[2] = gather(x=%x, indices=%i, axis=0, batch_dims=0)
        """,
        """
        inputs %x: fp16[8], %i: int32[2]
        %i_size: int32 = const(8)
        %i_is_from_front_y: int32 = const(0)
        %i_is_from_front: bool[2] = greater_equal(x=%i, y=%i_is_from_front_y)
        %i_moved: int32[2] = add(x=%i, y=%i_size)
        %i_from_front: int32[2] = select(cond=%i_is_from_front, a=%i, b=%i_moved)
        %y_validate_indices: bool = const(false)
        %y: fp16[2] = gather(x=%x, indices=%i_from_front, axis=0, batch_dims=0, validate_indices=%y_validate_indices)
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_size_of_an_axis_that_is_not_known_is_measured() -> None:
    check(
        """
        inputs %x: fp16[2, ?], %i: int32
        %y: fp16[2] = gather(x=%x, indices=%i, axis=-1, batch_dims=0, validate_indices=false)
        """,
        """
        inputs %x: fp16[2, ?], %i: int32
        %x_shape: int32[2] = shape(x=%x)
        %i_size_begin: int32[1] = const([1])
        %i_size_end: int32[1] = const([2])
        %i_size_end_mask: bool[1] = const([false])
        %i_size_squeeze_mask: bool[1] = const([true])
        %i_size: int32 = slice_by_index(x=%x_shape, begin=%i_size_begin, end=%i_size_end, end_mask=%i_size_end_mask,
            squeeze_mask=%i_size_squeeze_mask)
        %i_is_from_front_y: int32 = const(0)
        %i_is_from_front: bool = greater_equal(x=%i, y=%i_is_from_front_y)
        %i_moved: int32 = add(x=%i, y=%i_size)
        %i_from_front: int32 = select(cond=%i_is_from_front, a=%i, b=%i_moved)
        %y: fp16[2] = gather(x=%x, indices=%i_from_front, axis=-1, batch_dims=0, validate_indices=false)
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_constant_indices_are_counted_from_the_front() -> None:
    check(
        """
        inputs %x: fp16[8], %u: fp16[3]
        %i: int32[3] = const([-1, 2, -8])
        %y: fp16[8] = scatter(data=%x, indices=%i, updates=%u, axis=0, mode="add")
        """,
        """
        inputs %x: fp16[8], %u: fp16[3]
        %i_from_front: int32[3] = const([7, 2, 0])
        %y_validate_indices: bool = const(false)
        %y: fp16[8] = scatter(data=%x, indices=%i_from_front, updates=%u, axis=0, mode="add",
            validate_indices=%y_validate_indices)
        """,
        IOS15, IOS17,
    )  # fmt: skip


def test_inline_indices_stay_inline() -> None:
    check(
        """
        inputs %x: fp16[8]
        %y: fp16[2] = gather(x=%x, indices=[-1, 0], axis=0, batch_dims=0, validate_indices=false)
        """,
        """
        inputs %x: fp16[8]
        %y: fp16[2] = gather(x=%x, indices=[7, 0], axis=0, batch_dims=0, validate_indices=false)
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_each_position_is_counted_along_its_own_axis() -> None:
    check(
        """
        inputs %x: fp16[3, 5]
        %y: fp16[2] = gather_nd(x=%x, indices=[[-1, -1], [0, 4]], batch_dims=0, validate_indices=false)
        """,
        """
        inputs %x: fp16[3, 5]
        %y: fp16[2] = gather_nd(x=%x, indices=[[2, 4], [0, 4]], batch_dims=0, validate_indices=false)
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_regions_that_name_their_image_become_boxes_and_indices() -> None:
    settings = "target_height=2, target_width=3, normalized_coordinates=true, spatial_scale=1.0, pad_value=fp16(0.0), "
    settings += 'box_coordinate_mode="CORNERS_HEIGHT_FIRST", sampling_mode="ALIGN_CORNERS"'
    check(
        f"""
        inputs %x: fp16[1, 3, 8, 9], %r: fp16[7, 1, 5, 1, 1]
        %y: fp16[7, 1, 3, 2, 3] = crop_resize(x=%x, roi=%r, {settings})
        """,
        f"""
        inputs %x: fp16[1, 3, 8, 9], %r: fp16[7, 1, 5, 1, 1]
        %y_regions_axes: int32[3] = const([1, 3, 4])
        %y_regions: fp16[7, 5] = squeeze(x=%r, axes=%y_regions_axes)
        %y_boxes_begin: int32[2] = const([0, 1])
        %y_boxes_end: int32[2] = const([0, 5])
        %y_boxes_begin_mask: bool[2] = const([true, false])
        %y_boxes_end_mask: bool[2] = const([true, false])
        %y_boxes: fp16[7, 4] = slice_by_index(x=%y_regions, begin=%y_boxes_begin, end=%y_boxes_end,
            begin_mask=%y_boxes_begin_mask, end_mask=%y_boxes_end_mask)
        %y_images_begin: int32[2] = const([0, 0])
        %y_images_end: int32[2] = const([0, 1])
        %y_images_begin_mask: bool[2] = const([true, false])
        %y_images_end_mask: bool[2] = const([true, false])
        %y_images_squeeze_mask: bool[2] = const([false, true])
        %y_images: fp16[7] = slice_by_index(x=%y_regions, begin=%y_images_begin, end=%y_images_end,
            begin_mask=%y_images_begin_mask, end_mask=%y_images_end_mask, squeeze_mask=%y_images_squeeze_mask)
        %y_box_indices_dtype: string = const("int32")
        %y_box_indices: int32[7] = cast(x=%y_images, dtype=%y_box_indices_dtype)
        %y_crops: fp16[7, 3, 2, 3] = crop_resize(x=%x, boxes=%y_boxes, box_indices=%y_box_indices, {settings})
        %y_axes: int32[1] = const([1])
        %y: fp16[7, 1, 3, 2, 3] = expand_dims(x=%y_crops, axes=%y_axes)
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_suppression_is_transposed_on_the_way_in_and_out() -> None:
    check(
        """
        inputs %b: fp16[1, 9, 4], %s: fp16[1, 9, 3]
        %t: fp16 = const(-inf)
        %ob: fp16[1, 5, 4], %os: fp16[1, 5, 3], %oi: int32[1, 5], %on: int32[1] = non_maximum_suppression(boxes=%b,
            scores=%s, iou_threshold=fp16(0.5), score_threshold=%t, max_boxes=5, per_class_suppression=false)
        return %ob, %os, %oi
        """,
        """
        inputs %b: fp16[1, 9, 4], %s: fp16[1, 9, 3]
        %ob_boxes_perm: int32[3] = const([0, 2, 1])
        %ob_boxes: fp16[1, 4, 9] = transpose(x=%b, perm=%ob_boxes_perm)
        %os_scores_perm: int32[3] = const([0, 2, 1])
        %os_scores: fp16[1, 3, 9] = transpose(x=%s, perm=%os_scores_perm)
        %ob_suppression_0: fp16[1, 4, 5], %ob_suppression_1: fp16[1, 3, 5], %oi: int32[1, 5] = non_maximum_suppression(
            boxes=%ob_boxes, scores=%os_scores, iou_threshold=fp16(0.5), max_boxes=5,
            per_class_suppression=false)[name="ob_suppression"]
        %ob_perm: int32[3] = const([0, 2, 1])
        %ob: fp16[1, 5, 4] = transpose(x=%ob_suppression_0, perm=%ob_perm)
        %os_perm: int32[3] = const([0, 2, 1])
        %os: fp16[1, 5, 3] = transpose(x=%ob_suppression_1, perm=%os_perm)
        return %ob, %os, %oi
        """,
        IOS15, IOS17,
    )  # fmt: skip


@pytest.mark.parametrize(("alpha", "beta"), [("1.0", "1.0"), ("2.0", "-1.0")])
def test_clip_between_bounds_out_of_order_becomes_maximum_and_minimum(alpha: str, beta: str) -> None:
    check(
        f"""
        inputs %x: fp16[8]
        %y: fp16[8] = clip(x=%x, alpha=fp16({alpha}), beta=fp16({beta}))
        """,
        f"""
        inputs %x: fp16[8]
        %y_maximum: fp16[8] = maximum(x=%x, y=fp16({alpha}))
        %y: fp16[8] = minimum(x=%y_maximum, y=fp16({beta}))
        """,
        IOS16, IOS17,
    )  # fmt: skip


def test_clip_between_ordered_bounds_stays() -> None:
    text = """
        inputs %x: fp16[8]
        %y: fp16[8] = clip(x=%x, alpha=fp16(0.0), beta=fp16(6.0))
        """
    check(text, text, IOS15, IOS26)


def test_zero_in_a_shape_of_equal_length_stays() -> None:
    text = """
        inputs %x: fp16[2, ?, 4]
        %y: fp16[2, ?, 1] = reshape(x=%x, shape=[0, -1, 1])
        """
    check(text, text, IOS15, IOS17)


def test_zero_in_a_shape_of_another_length_is_stated_as_declared() -> None:
    program = fragment("inputs %x: fp16[2, 3, 4]\n%y: fp16[2, 12] = reshape(x=%x, shape=[0, -1])", IOS15)
    RaiseOpset(IOS17).apply(program, Context())
    assert str(program.main.body.last) == "%y: fp16[2, 12] = reshape(x=%x, shape=[2, -1])"


def test_zero_whose_dimension_is_not_declared_is_refused() -> None:
    reason = refusal("inputs %x: fp16[?, 3, 4]\n%y: fp16[?, 12] = reshape(x=%x, shape=[0, -1])", IOS15, IOS17)
    assert "reshape y in function main" in reason
    assert "has a 0 and another length than x" in reason


SUPPRESSION = """
    inputs %b: fp32[1, 9, 4], %s: fp32[1, 9, 3]
    %ob: fp32[1, 5, 4], %os: fp32[1, 5, 3], %oi: int32[1, 5], %on: int32[1] = non_maximum_suppression(boxes=%b,
        scores=%s, iou_threshold=0.5, score_threshold={}, max_boxes=5, per_class_suppression=false)
    return %ob, {}
    """


def test_fourth_output_of_suppression_in_use_is_refused() -> None:
    reason = refusal(SUPPRESSION.format("-3.4e38", "%on"), IOS15, IOS17)
    assert "non_maximum_suppression ob in function main: its fourth output on, the number of boxes, is used" in reason


@pytest.mark.parametrize("threshold", ["0.1", "0.0", "-1.0"])
def test_score_threshold_in_use_is_refused(threshold: str) -> None:
    reason = refusal(SUPPRESSION.format(threshold, "%oi"), IOS15, IOS17)
    assert "non_maximum_suppression ob in function main: its score_threshold may reject boxes" in reason


def test_suppression_with_a_threshold_is_no_problem_below_ios17() -> None:
    text = SUPPRESSION.format("0.1", "%on")
    check(text, text, IOS15, IOS16)


def test_regions_of_unknown_form_are_refused() -> None:
    reason = refusal(
        "inputs %x: fp32[1, 3, 8, 9], %r: fp32[7, 1, ?, 1, 1]\n%y: fp32[7, 1, 3, 1, 1] = crop_resize(x=%x, roi=%r)",
            IOS15, IOS17
    )
    assert "whether its regions name their image (5 numbers) or not (4) has to be known" in reason


def test_regions_of_an_unknown_number_of_images_are_refused() -> None:
    reason = refusal(
        "inputs %x: fp32[?, 3, 8, 9], %r: fp32[7, 1, 4, 1, 1]\n%y: fp32[7, ?, 3, 1, 1] = crop_resize(x=%x, roi=%r)",
            IOS15, IOS17
    )
    assert "the number of images is not known" in reason


def test_regions_of_one_image_that_are_declared_for_several_are_refused() -> None:
    reason = refusal(
        "inputs %x: fp32[2, 3, 8, 9], %r: fp32[7, 1, 5, 1, 1]\n%y: fp32[7, 2, 3, 1, 1] = crop_resize(x=%x, roi=%r)",
            IOS15, IOS17
    )
    assert "there is one crop for each" in reason


def test_indices_of_unknown_depth_are_refused() -> None:
    reason = refusal("inputs %x: fp32[2, 3], %i: int32[4, ?]\n%y: fp32[*] rank -1 = gather_nd(x=%x, indices=%i)", IOS15, IOS17)
    assert "how many axes its indices, of type int32[4, ?], address is not known" in reason


def test_all_problems_come_together() -> None:
    reshape = "%c: fp32[?, 27] = reshape(x=%s, shape=[0, -1])"
    reason = refusal(SUPPRESSION.format("0.1", "%on").replace("return", f"{reshape}\nreturn"), IOS15, IOS18)
    assert reason.count("\n- ") == 2
    assert reason.startswith("the program cannot be raised to iOS18:")
